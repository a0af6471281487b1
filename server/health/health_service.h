// grpc.health.v1 with the services `live` and `ready`. gRPC's own one says SERVING for "" before
// anything is loaded, and keeps its watchers open through a drain.
#ifndef IMAGESEARCH_SERVER_HEALTH_HEALTH_SERVICE_H_
#define IMAGESEARCH_SERVER_HEALTH_HEALTH_SERVICE_H_

#include <map>
#include <memory>
#include <string>
#include <unordered_set>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "grpc/health/v1/health.grpc.pb.h"

namespace imagesearch::server {

// Thread-safe. All states are NOT_SERVING until set. "" and the services of the contract follow
// `ready`.
class HealthService final : public grpc::health::v1::Health::CallbackService {
 public:
  HealthService();
  ~HealthService() override;

  void SetLive(bool serving);
  void SetReady(bool serving);
  // Tells watchers the last state and ends their calls.
  void Shutdown();

  grpc::ServerUnaryReactor* Check(grpc::CallbackServerContext* context,
                                  const grpc::health::v1::HealthCheckRequest* request,
                                  grpc::health::v1::HealthCheckResponse* response) override;
  grpc::ServerWriteReactor<grpc::health::v1::HealthCheckResponse>* Watch(
      grpc::CallbackServerContext* context,
      const grpc::health::v1::HealthCheckRequest* request) override;

 private:
  class Watcher;
  using Serving = grpc::health::v1::HealthCheckResponse::ServingStatus;

  void Set(const std::string& service, bool serving);
  void Forget(Watcher* watcher);
  Serving StateOf(const std::string& service) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable Mutex mutex_;
  std::map<std::string, Serving> states_ ABSL_GUARDED_BY(mutex_);
  std::unordered_set<Watcher*> watchers_ ABSL_GUARDED_BY(mutex_);
  bool shut_down_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HEALTH_HEALTH_SERVICE_H_
