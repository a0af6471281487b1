// The probe and the loop that calls it.
#include "server/health/watchdog.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/steady_time.h"

namespace imagesearch::server {
namespace {

// The client's connection preface of HTTP/2 (RFC 9113, section 3.4) with an empty SETTINGS frame.
constexpr absl::string_view kPreface("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", 33);

// The first flight of a TLS client that offers HTTP/2. Empty when OpenSSL makes none.
std::string ClientHello() {
  const std::unique_ptr<SSL_CTX, void (*)(SSL_CTX*)> context(SSL_CTX_new(TLS_client_method()),
                                                             &SSL_CTX_free);
  if (context == nullptr) return "";
  const std::unique_ptr<SSL, void (*)(SSL*)> client(SSL_new(context.get()), &SSL_free);
  if (client == nullptr) return "";
  constexpr unsigned char kHttp2[] = "\2h2";
  SSL_set_alpn_protos(client.get(), kHttp2, 3);
  BIO* out = BIO_new(BIO_s_mem());
  SSL_set_bio(client.get(), BIO_new(BIO_s_mem()), out);  // the client owns both
  SSL_connect(client.get());
  ERR_clear_error();
  char* bytes = nullptr;
  const auto size = BIO_get_mem_data(out, &bytes);
  return std::string(bytes, static_cast<size_t>(size));
}

absl::Status SystemError(const char* what) {
  return absl::UnavailableError(absl::StrCat(what, ": ", std::strerror(errno)));
}

absl::Status Await(int fd, short events, absl::Time deadline) {
  while (true) {
    pollfd entry = {fd, events, 0};
    const int64_t ms = absl::ToInt64Milliseconds(deadline - SteadyNow());
    const int ready = poll(&entry, 1, static_cast<int>(ms < 0 ? 0 : ms));
    if (ready > 0) return absl::OkStatus();
    if (ready == 0) return absl::UnavailableError("the listener does not answer");
    if (errno != EINTR) return SystemError("poll");
  }
}

absl::Status Converse(int fd, const addrinfo& address, absl::string_view hello,
                      absl::Time deadline) {
  if (connect(fd, address.ai_addr, address.ai_addrlen) != 0 && errno != EINPROGRESS) {
    return SystemError("connect");
  }
  absl::Status status = Await(fd, POLLOUT, deadline);
  if (!status.ok()) return status;
  if (send(fd, hello.data(), hello.size(), MSG_NOSIGNAL) < 0) return SystemError("send");
  status = Await(fd, POLLIN, deadline);
  if (!status.ok()) return status;
  char byte;
  // Closed or reset at once: it accepted and found us one too many, so it lives.
  if (recv(fd, &byte, 1, 0) < 0 && errno != ECONNRESET) return SystemError("recv");
  return absl::OkStatus();
}

}  // namespace

absl::Status ProbeListener(const std::string& host, int port, bool tls, absl::Duration timeout) {
  std::string target = host;
  if (target.empty() || target == "0.0.0.0" || target == "*") target = "127.0.0.1";
  if (target == "::" || target == "[::]") target = "::1";
  if (target.size() > 2 && target.front() == '[') target = target.substr(1, target.size() - 2);
  addrinfo hints = {};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(target.c_str(), absl::StrCat(port).c_str(), &hints, &found);
  if (error != 0) {
    return absl::UnavailableError(
        absl::StrCat("can't resolve ", target, ": ", gai_strerror(error)));
  }
  const std::string hello = tls ? ClientHello() : std::string(kPreface);
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  absl::Status status =
      fd < 0 ? SystemError("socket") : Converse(fd, *found, hello, SteadyNow() + timeout);
  if (fd >= 0) close(fd);
  freeaddrinfo(found);
  return status;
}

Watchdog::Watchdog(WatchdogOptions options)
    : options_(std::move(options)), thread_([this] { Run(); }) {}

Watchdog::~Watchdog() {
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    stopped_.SignalAll();
  }
  thread_.join();
}

void Watchdog::Run() {
  std::optional<bool> live, ready;
  while (true) {
    const absl::Status alive = options_.live();
    if (live != alive.ok()) {
      live = alive.ok();
      options_.on_live(alive);
    }
    const absl::Status serves = options_.ready();
    if (ready != serves.ok()) {
      ready = serves.ok();
      options_.on_ready(serves);
    }
    MutexLock lock(&mutex_);
    const auto wake = CondVar::Clock::now() + absl::ToChronoNanoseconds(options_.interval);
    while (!stopping_ && stopped_.WaitUntil(&mutex_, wake)) {
    }
    if (stopping_) return;
  }
}

}  // namespace imagesearch::server
