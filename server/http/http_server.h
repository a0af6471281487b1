// The HTTP port: every unary call as JSON, the page, and what operators ask for (/metrics,
// /healthz, /readyz, /openapi.json).
#ifndef IMAGESEARCH_SERVER_HTTP_HTTP_SERVER_H_
#define IMAGESEARCH_SERVER_HTTP_HTTP_SERVER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/call_runner.h"
#include "server/metrics.h"
#include "server/security/certificate_store.h"
#include "server/server_state.h"

namespace imagesearch::server {

struct HttpOptions {
  std::string address;                   // HOST:PORT; port 0 takes a free one
  int threads = 16;                      // one connection each
  int request_timeout_ms = 20000;        // to receive a request; again to send the reply
  uint64_t max_body_bytes = 128u << 20;  // request bodies held at a time, all connections
  // Folder whose pictures GET /picture may send: those whose metadata field `path`, or id, is a
  // file in it. Empty: none are sent.
  std::string pictures;
  // Null: plaintext. Where it asks for client certificates, everything but health needs one.
  std::shared_ptr<CertificateStore> certificates;
  bool open_metrics = false;                         // /metrics without key and certificate
  double max_client_share = 1;                       // of the threads
  std::function<bool()> live = [] { return true; };  // what /healthz says
};

// Serves from Start until Stop. Thread-safe.
class HttpServer {
 public:
  // `state`, `runner` and `metrics` must outlive the server. INVALID_ARGUMENT for an address that
  // can't be read, UNAVAILABLE PORT_IN_USE for one that can't be bound.
  static absl::StatusOr<std::unique_ptr<HttpServer>> Start(const HttpOptions& options,
                                                           ServerState* state, CallRunner* runner,
                                                           Metrics* metrics);
  // Stops.
  ~HttpServer();

  int port() const;

  // Accepts no more, waits for the requests that are being served. Idempotent.
  void Stop();

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HTTP_HTTP_SERVER_H_
