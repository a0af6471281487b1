// One set of held keys under one mutex.
#include "index/milvus/key_locks.h"

#include <algorithm>
#include <chrono>

#include "absl/time/clock.h"
#include "base/steady_time.h"

namespace imagesearch::index {

KeyLocks::Held::~Held() {
  if (locks_ == nullptr) return;
  MutexLock lock(&locks_->mutex_);
  for (const std::string& key : keys_) locks_->held_.erase(key);
  locks_->released_.SignalAll();
}

bool KeyLocks::AnyHeld(const std::vector<std::string>& keys) const {
  for (const std::string& key : keys) {
    if (held_.contains(key)) return true;
  }
  return false;
}

absl::StatusOr<KeyLocks::Held> KeyLocks::Acquire(std::vector<std::string> keys,
                                                 absl::Time deadline) {
  // Far enough away for "no deadline", and within the clock's range.
  const absl::Duration wait = std::min(deadline - SteadyNow(), absl::Hours(24));
  const auto until = CondVar::Clock::now() + absl::ToChronoNanoseconds(wait);
  MutexLock lock(&mutex_);
  while (AnyHeld(keys)) {
    if (!released_.WaitUntil(&mutex_, until) && AnyHeld(keys)) {
      return absl::DeadlineExceededError("other writes of the same images took until the deadline");
    }
  }
  held_.insert(keys.begin(), keys.end());
  return Held(this, std::move(keys));
}

}  // namespace imagesearch::index
