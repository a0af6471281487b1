// Hands out the backend, or the reason why there is none yet.
#include "server/server_state.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace imagesearch::server {

absl::StatusOr<std::shared_ptr<const Backend>> ServerState::backend() const {
  MutexLock lock(&mutex_);
  if (backend_ != nullptr) return backend_;
  return WithRetryAfter(Error(absl::StatusCode::kUnavailable, "NOT_READY",
                              absl::StrCat("the server is starting: ", progress_)),
                        absl::Seconds(1));
}

void ServerState::SetBackend(std::shared_ptr<const Backend> backend) {
  MutexLock lock(&mutex_);
  backend_ = std::move(backend);
}

std::string ServerState::progress() const {
  MutexLock lock(&mutex_);
  return progress_;
}

void ServerState::SetProgress(std::string progress) {
  MutexLock lock(&mutex_);
  progress_ = std::move(progress);
}

bool ServerState::ready() const {
  MutexLock lock(&mutex_);
  return ready_;
}

void ServerState::SetReady(bool ready) {
  MutexLock lock(&mutex_);
  ready_ = ready;
}

}  // namespace imagesearch::server
