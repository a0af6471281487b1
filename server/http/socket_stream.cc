// Non-blocking calls, and poll(2) where they would block.
#include "server/http/socket_stream.h"

#include <fcntl.h>
#include <netdb.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace imagesearch::server {

bool WaitFor(int socket, short events, std::chrono::steady_clock::time_point deadline) {
  while (true) {
    const auto left =
        std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    pollfd entry{socket, events, 0};
    const int ready = poll(&entry, 1, static_cast<int>(std::min<int64_t>(left.count(), 3600000)));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

void GetAddress(int (*call)(int, sockaddr*, socklen_t*), int socket, std::string& host, int& port) {
  sockaddr_storage address{};
  socklen_t length = sizeof(address);
  if (call(socket, reinterpret_cast<sockaddr*>(&address), &length) != 0) return;
  std::array<char, NI_MAXHOST> name{};
  std::array<char, NI_MAXSERV> service{};
  if (getnameinfo(reinterpret_cast<sockaddr*>(&address), length, name.data(), name.size(),
                  service.data(), service.size(), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return;
  }
  host = name.data();
  port = std::atoi(service.data());
}

SocketStream::SocketStream(socket_t socket, const ConnectionLimits& limits)
    : socket_(socket), limits_(limits), tls_(nullptr, &SSL_free) {}

SocketStream::~SocketStream() = default;

bool SocketStream::AwaitTls(int result, Clock::time_point deadline) {
  switch (SSL_get_error(tls_.get(), result)) {
    case SSL_ERROR_WANT_READ:
      return WaitFor(socket_, POLLIN, deadline);
    case SSL_ERROR_WANT_WRITE:
      return WaitFor(socket_, POLLOUT, deadline);
    default:
      ERR_clear_error();
      return false;
  }
}

bool SocketStream::Handshake(ssl_ctx_st* context) {
  // Waits are poll's: OpenSSL must never block in the socket.
  const int flags = fcntl(socket_, F_GETFL, 0);
  if (flags < 0 || fcntl(socket_, F_SETFL, flags | O_NONBLOCK) != 0) return false;
  tls_.reset(SSL_new(context));
  if (tls_ == nullptr || SSL_set_fd(tls_.get(), socket_) != 1) return false;
  const Clock::time_point deadline = Clock::now() + limits_.handshake;
  while (true) {
    ERR_clear_error();
    const int result = SSL_accept(tls_.get());
    if (result == 1) break;
    if (!AwaitTls(result, deadline)) {
      tls_.reset();
      return false;
    }
  }
  // A certificate that was given and does not verify has failed the handshake.
  X509* certificate = SSL_get_peer_certificate(tls_.get());
  has_client_certificate_ = certificate != nullptr;
  X509_free(certificate);
  return true;
}

bool SocketStream::NextRequest() {
  const bool waiting = begin_ == end_ && (tls_ == nullptr || SSL_pending(tls_.get()) == 0);
  if (waiting && !WaitFor(socket_, POLLIN, Clock::now() + limits_.idle)) return false;
  read_deadline_ = Clock::now() + limits_.receive;
  writing_ = false;
  return true;
}

void SocketStream::SayGoodbye() {
  if (tls_ == nullptr) return;
  ERR_clear_error();
  SSL_shutdown(tls_.get());
  ERR_clear_error();
}

ssize_t SocketStream::read(char* out, size_t size) {
  if (begin_ == end_) {
    const ssize_t got = tls_ == nullptr ? Receive() : ReceiveTls();
    if (got <= 0) return got;
    begin_ = 0;
    end_ = static_cast<size_t>(got);
  }
  const size_t taken = std::min(size, end_ - begin_);
  std::memcpy(out, buffer_.data() + begin_, taken);
  begin_ += taken;
  return static_cast<ssize_t>(taken);
}

ssize_t SocketStream::write(const char* data, size_t size) {
  if (!writing_) {
    writing_ = true;
    write_deadline_ = Clock::now() + limits_.send;
  }
  if (tls_ != nullptr) return SendTls(data, size);
  while (true) {
    const ssize_t sent = send(socket_, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent >= 0) return sent;
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return -1;
    if (!WaitFor(socket_, POLLOUT, write_deadline_)) return -1;
  }
}

ssize_t SocketStream::Receive() {
  while (true) {
    const ssize_t got = recv(socket_, buffer_.data(), buffer_.size(), MSG_DONTWAIT);
    if (got >= 0) return got;
    if (errno == EINTR) continue;
    if (errno != EAGAIN && errno != EWOULDBLOCK) return -1;
    if (!WaitFor(socket_, POLLIN, read_deadline_)) return -1;
  }
}

ssize_t SocketStream::ReceiveTls() {
  while (true) {
    ERR_clear_error();
    const int got = SSL_read(tls_.get(), buffer_.data(), static_cast<int>(buffer_.size()));
    if (got > 0) return got;
    if (SSL_get_error(tls_.get(), got) == SSL_ERROR_ZERO_RETURN) return 0;
    // Bytes that drip in without completing a record come back here: the deadline still counts.
    if (Clock::now() >= read_deadline_ || !AwaitTls(got, read_deadline_)) return -1;
  }
}

ssize_t SocketStream::SendTls(const char* data, size_t size) {
  if (size == 0) return 0;
  while (true) {
    ERR_clear_error();
    const int sent = SSL_write(tls_.get(), data, static_cast<int>(std::min<size_t>(size, 1 << 20)));
    if (sent > 0) return sent;
    if (!AwaitTls(sent, write_deadline_)) return -1;
  }
}

void SocketStream::get_remote_ip_and_port(std::string& ip, int& port) const {
  GetAddress(&getpeername, socket_, ip, port);
}

void SocketStream::get_local_ip_and_port(std::string& ip, int& port) const {
  GetAddress(&getsockname, socket_, ip, port);
}

}  // namespace imagesearch::server
