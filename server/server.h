// The server as an object: opens the port at once, serves when its backend is there, drains.
#ifndef IMAGESEARCH_SERVER_SERVER_H_
#define IMAGESEARCH_SERVER_SERVER_H_

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/call_runner.h"
#include "server/config/server_config.pb.h"
#include "server/forward/forwarder.h"
#include "server/grpc/grpc_server.h"
#include "server/grpc/upsert_stream.h"
#include "server/health/health_service.h"
#include "server/health/watchdog.h"
#include "server/http/http_server.h"
#include "server/metrics.h"
#include "server/security/guard.h"
#include "server/server_state.h"

namespace imagesearch::server {

// Call order: Start, Serve (once, from any thread), Drain (a second call does nothing). The
// accessors may be used from any thread in between.
class Server {
 public:
  // Opens the gRPC port, and the HTTP port when there is one. Until Serve, work is answered
  // UNAVAILABLE NOT_READY, and GetServerInfo tells the progress.
  static absl::StatusOr<std::unique_ptr<Server>> Start(const ServerConfig& config,
                                                       ServerFacts facts);
  ~Server();

  // Takes the backend, makes sure that collection `default` exists, and turns `ready` on.
  absl::Status Serve(Backend backend);

  // Turns `ready` off and waits config.drain_notice_ms() (so that load balancers look elsewhere),
  // then closes the port, lets calls in flight end within config.drain_timeout_ms(), and closes the
  // backend.
  absl::Status Drain();

  int port() const { return listening_.port; }
  // 0: none.
  int http_port() const { return http_ == nullptr ? 0 : http_->port(); }
  ServerState& state() { return state_; }
  CallRunner& runner() { return runner_; }
  Metrics& metrics() { return metrics_; }
  UpsertStreams& streams() { return streams_; }
  const Guard& guard() const { return *guard_; }
  Acceptor& acceptor() { return *listening_.acceptor; }
  bool live() const { return live_.load(); }

 private:
  Server(const ServerConfig& config, ServerFacts facts, std::unique_ptr<Guard> guard,
         std::shared_ptr<grpc::ChannelCredentials> to_writer);

  absl::Status CheckLive() const;
  absl::Status CheckReady() const;
  void OnLive(const absl::Status& status);
  void OnReady(const absl::Status& status);

  const ServerConfig config_;
  const std::unique_ptr<Guard> guard_;
  Metrics metrics_;
  ServerState state_;
  HealthService health_;
  std::unique_ptr<Forwarder> forwarder_;  // of a reader
  CallRunner runner_;
  UpsertStreams streams_;
  std::vector<std::unique_ptr<grpc::Service>> services_;
  std::atomic<bool> live_{true};
  std::atomic<bool> draining_{false};
  ListeningServer listening_;
  std::unique_ptr<HttpServer> http_;
  std::unique_ptr<Watchdog> watchdog_;
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_SERVER_H_
