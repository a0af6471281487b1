// One HTTP connection's bytes, plain or through TLS, with a deadline for each request and reply.
#ifndef IMAGESEARCH_SERVER_HTTP_SOCKET_STREAM_H_
#define IMAGESEARCH_SERVER_HTTP_SOCKET_STREAM_H_

#include <sys/socket.h>

#include <array>
#include <chrono>
#include <memory>
#include <string>

#include "httplib.h"
#include "server/http/connection.h"

struct ssl_st;

namespace imagesearch::server {

// Waits for `events` of poll(2); false once `deadline` has passed, or on an error.
bool WaitFor(int socket, short events, std::chrono::steady_clock::time_point deadline);

// `call` is getpeername or getsockname; leaves host and port alone when it fails.
void GetAddress(int (*call)(int, sockaddr*, socklen_t*), int socket, std::string& host, int& port);

// Not thread-safe. Does not close the socket.
class SocketStream final : public httplib::Stream {
 public:
  // `limits` must outlive this.
  SocketStream(socket_t socket, const ConnectionLimits& limits);
  ~SocketStream() override;

  // Speaks TLS from here on. False when the client does not, within limits.handshake.
  bool Handshake(ssl_ctx_st* context);
  // Of the authorities of that context.
  bool has_client_certificate() const { return has_client_certificate_; }

  // Waits for the first byte of the next request and starts its time.
  bool NextRequest();

  // Tells a TLS client that nothing was cut off. Does not wait.
  void SayGoodbye();

  bool is_readable() const override { return true; }
  bool is_writable() const override { return true; }
  socket_t socket() const override { return socket_; }
  ssize_t read(char* out, size_t size) override;
  ssize_t write(const char* data, size_t size) override;
  void get_remote_ip_and_port(std::string& ip, int& port) const override;
  void get_local_ip_and_port(std::string& ip, int& port) const override;

 private:
  using Clock = std::chrono::steady_clock;

  ssize_t Receive();
  ssize_t ReceiveTls();
  ssize_t SendTls(const char* data, size_t size);
  // After a call of OpenSSL that did not get through: waits for what it wants.
  bool AwaitTls(int result, Clock::time_point deadline);

  const socket_t socket_;
  const ConnectionLimits& limits_;
  std::unique_ptr<ssl_st, void (*)(ssl_st*)> tls_;  // null: plain
  bool has_client_certificate_ = false;
  Clock::time_point read_deadline_;
  Clock::time_point write_deadline_;
  bool writing_ = false;
  std::array<char, 16384> buffer_;
  size_t begin_ = 0;
  size_t end_ = 0;
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HTTP_SOCKET_STREAM_H_
