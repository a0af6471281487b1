// Lets calls through while the store is open; holds them while it is opened anew; refuses them
// once it is closed.
#ifndef IMAGESEARCH_INDEX_STORE_GATE_H_
#define IMAGESEARCH_INDEX_STORE_GATE_H_

#include <chrono>
#include <cstdint>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "base/error.h"
#include "base/mutex.h"

namespace imagesearch::index {

// Thread-safe.
class Gate {
 public:
  // A call that is inside, for as long as the pass lives.
  class Pass {
   public:
    explicit Pass(Gate* gate) : gate_(gate), inside_(gate->Enter()) {}
    ~Pass() {
      if (inside_) gate_->Leave();
    }
    Pass(const Pass&) = delete;
    Pass& operator=(const Pass&) = delete;
    // UNAVAILABLE once the database is closed, or when opening it anew takes long.
    absl::Status status() const {
      if (inside_) return absl::OkStatus();
      return Error(absl::StatusCode::kUnavailable, "CLOSED",
                   "the database is closed, or being opened anew after a failed write");
    }

   private:
    Gate* const gate_;
    const bool inside_;
  };

  // Waits until nobody is inside and keeps new calls waiting, until Open or Close.
  void Pause() {
    MutexLock lock(&mutex_);
    paused_ = true;
    while (inside_ > 0) changed_.Wait(&mutex_);
  }
  // The same, but for `patience` only: false, and nothing is changed, when somebody stays longer.
  bool TryPause(std::chrono::milliseconds patience) {
    MutexLock lock(&mutex_);
    const auto until = CondVar::Clock::now() + patience;
    paused_ = true;
    while (inside_ > 0) {
      if (changed_.WaitUntil(&mutex_, until) || inside_ == 0) continue;
      paused_ = false;
      changed_.SignalAll();
      return false;
    }
    return true;
  }
  void Open() {
    MutexLock lock(&mutex_);
    paused_ = false;
    changed_.SignalAll();
  }
  // Waits until nobody is inside and refuses from now on. False when it was closed already.
  bool Close() {
    MutexLock lock(&mutex_);
    const bool was_closed = std::exchange(closed_, true);
    changed_.SignalAll();
    while (inside_ > 0) changed_.Wait(&mutex_);
    return !was_closed;
  }

 private:
  bool Enter() {
    MutexLock lock(&mutex_);
    const auto until = CondVar::Clock::now() + kLongestWait;
    while (paused_ && !closed_) {
      if (!changed_.WaitUntil(&mutex_, until)) return false;
    }
    if (closed_) return false;
    ++inside_;
    return true;
  }
  void Leave() {
    MutexLock lock(&mutex_);
    if (--inside_ == 0) changed_.SignalAll();
  }

  static constexpr std::chrono::seconds kLongestWait{10};

  Mutex mutex_;
  CondVar changed_;
  int64_t inside_ ABSL_GUARDED_BY(mutex_) = 0;
  bool paused_ ABSL_GUARDED_BY(mutex_) = false;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_GATE_H_
