// cpp-httplib made safe for strangers: a bounded number of threads and waiting connections, and a
// total time for each request and reply, however slowly their bytes come or go.
#ifndef IMAGESEARCH_SERVER_HTTP_CONNECTION_H_
#define IMAGESEARCH_SERVER_HTTP_CONNECTION_H_

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>

#include "httplib.h"
#include "server/security/client_shares.h"

struct ssl_ctx_st;

namespace imagesearch::server {

struct ConnectionLimits {
  int threads = 16;         // one connection each
  size_t max_waiting = 64;  // accepted connections without a thread; more are answered 503
  std::chrono::milliseconds idle{2000};       // between requests of a connection
  std::chrono::milliseconds receive{20000};   // a whole request, from its first byte
  std::chrono::milliseconds send{20000};      // a whole reply
  int max_requests = 100;                     // of one connection
  std::chrono::milliseconds handshake{5000};  // of TLS
  // Of `threads`, how many one client may have.
  int max_client_connections = 16;
  // The TLS context of a new connection; empty: plaintext.
  std::function<std::shared_ptr<ssl_ctx_st>()> tls;
};

// Handlers as httplib has them, set before it listens. A handler that leaves part of the request
// unread calls CloseAfterReply.
class ConnectionServer : public httplib::Server {
 public:
  explicit ConnectionServer(const ConnectionLimits& limits);

  // After bind: httplib listens with a backlog of 5.
  void RaiseBacklog();

  // From a handler: this connection takes no further request.
  static void CloseAfterReply();
  static bool ClosesAfterReply();
  // From a handler: whether the client gave a certificate of the authorities in the TLS context.
  static bool HasClientCertificate();

 private:
  template <typename Self>
  static bool ServeOne(Self& server, httplib::Stream& stream, bool last, bool& closed);
  bool process_and_close_socket(socket_t socket) override;
  bool ServeConnection(socket_t socket);

  const ConnectionLimits limits_;
  ClientShares<1> shares_;  // connections with a thread
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HTTP_CONNECTION_H_
