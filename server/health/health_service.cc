// States by name, and watchers that are told of changes.
#include "server/health/health_service.h"

#include <optional>
#include <utility>
#include <vector>

namespace imagesearch::server {

using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

// One Watch call. Sends the newest state only: states that come while a write is under way replace
// one another. Deletes itself (through its self reference) after OnDone.
class HealthService::Watcher final : public grpc::ServerWriteReactor<HealthCheckResponse>,
                                     public std::enable_shared_from_this<Watcher> {
 public:
  Watcher(HealthService* service, std::string name) : service_(*service), name_(std::move(name)) {}

  const std::string& name() const { return name_; }
  void Keep() { self_ = shared_from_this(); }

  void Send(Serving state) {
    {
      MutexLock lock(&mutex_);
      if (state == sent_) return;
      next_ = state;
    }
    Step();
  }

  void End() {
    {
      MutexLock lock(&mutex_);
      ending_ = true;
    }
    Step();
  }

  void OnWriteDone(bool ok) override {
    {
      MutexLock lock(&mutex_);
      writing_ = false;
      if (!ok) ending_ = true;
    }
    Step();
  }

  void OnCancel() override { End(); }

  void OnDone() override {
    service_.Forget(this);
    const std::shared_ptr<Watcher> last = std::move(self_);
  }

 private:
  void Step() {
    const std::shared_ptr<Watcher> keep = shared_from_this();
    bool write = false, finish = false;
    {
      MutexLock lock(&mutex_);
      if (writing_ || starting_ || finished_) return;
      if (next_) {
        message_.set_status(*next_);
        sent_ = *std::exchange(next_, std::nullopt);
        writing_ = starting_ = write = true;
      } else if (ending_) {
        finished_ = finish = true;
      }
    }
    if (finish) Finish(grpc::Status(grpc::StatusCode::UNAVAILABLE, "the server is stopping"));
    if (!write) return;
    StartWrite(&message_);
    {
      MutexLock lock(&mutex_);
      starting_ = false;
    }
    Step();
  }

  HealthService& service_;
  const std::string name_;
  HealthCheckResponse message_;  // being written

  Mutex mutex_;
  std::optional<Serving> sent_ ABSL_GUARDED_BY(mutex_), next_ ABSL_GUARDED_BY(mutex_);
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool starting_ ABSL_GUARDED_BY(mutex_) = false;  // a thread is inside StartWrite
  bool ending_ ABSL_GUARDED_BY(mutex_) = false;
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  std::shared_ptr<Watcher> self_;
};

HealthService::HealthService() {
  for (const char* name :
       {"", "live", "ready", "imagesearch.v1.ImageSearch", "imagesearch.v1.Admin"}) {
    states_[name] = HealthCheckResponse::NOT_SERVING;
  }
}

HealthService::~HealthService() = default;

void HealthService::SetLive(bool serving) { Set("live", serving); }

void HealthService::SetReady(bool serving) {
  for (const char* name : {"", "ready", "imagesearch.v1.ImageSearch", "imagesearch.v1.Admin"}) {
    Set(name, serving);
  }
}

void HealthService::Set(const std::string& service, bool serving) {
  const Serving state = serving ? HealthCheckResponse::SERVING : HealthCheckResponse::NOT_SERVING;
  std::vector<std::shared_ptr<Watcher>> told;
  {
    MutexLock lock(&mutex_);
    states_[service] = state;
    for (Watcher* watcher : watchers_) {
      if (watcher->name() != service) continue;
      if (auto alive = watcher->weak_from_this().lock()) told.push_back(std::move(alive));
    }
  }
  for (const auto& watcher : told) watcher->Send(state);
}

HealthService::Serving HealthService::StateOf(const std::string& service) const {
  const auto found = states_.find(service);
  return found == states_.end() ? HealthCheckResponse::SERVICE_UNKNOWN : found->second;
}

void HealthService::Forget(Watcher* watcher) {
  MutexLock lock(&mutex_);
  watchers_.erase(watcher);
}

void HealthService::Shutdown() {
  std::vector<std::shared_ptr<Watcher>> told;
  {
    MutexLock lock(&mutex_);
    shut_down_ = true;
    for (Watcher* watcher : watchers_) {
      if (auto alive = watcher->weak_from_this().lock()) told.push_back(std::move(alive));
    }
  }
  for (const auto& watcher : told) watcher->End();
}

grpc::ServerUnaryReactor* HealthService::Check(grpc::CallbackServerContext* context,
                                               const HealthCheckRequest* request,
                                               HealthCheckResponse* response) {
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  Serving state;
  {
    MutexLock lock(&mutex_);
    state = StateOf(request->service());
  }
  if (state == HealthCheckResponse::SERVICE_UNKNOWN) {
    reactor->Finish(grpc::Status(grpc::StatusCode::NOT_FOUND, "no such health service"));
  } else {
    response->set_status(state);
    reactor->Finish(grpc::Status::OK);
  }
  return reactor;
}

grpc::ServerWriteReactor<HealthCheckResponse>* HealthService::Watch(
    grpc::CallbackServerContext* context, const HealthCheckRequest* request) {
  auto watcher = std::make_shared<Watcher>(this, request->service());
  watcher->Keep();
  Serving state;
  bool end;
  {
    MutexLock lock(&mutex_);
    watchers_.insert(watcher.get());
    state = StateOf(request->service());
    end = shut_down_;
  }
  watcher->Send(state);
  if (end) watcher->End();
  return watcher.get();
}

}  // namespace imagesearch::server
