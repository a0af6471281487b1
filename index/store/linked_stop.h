// One stop flag out of two: work that its owner may cancel, and that must also end when the
// database closes, inside libraries that look at one flag only.
#ifndef IMAGESEARCH_INDEX_STORE_LINKED_STOP_H_
#define IMAGESEARCH_INDEX_STORE_LINKED_STOP_H_

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>

#include "base/mutex.h"

namespace imagesearch::index {

// Its flag turns true within 50 ms of either of the two, for as long as this lives.
class LinkedStop {
 public:
  using Flag = std::shared_ptr<const std::atomic<bool>>;
  // Either may be null.
  LinkedStop(Flag a, Flag b) : a_(std::move(a)), b_(std::move(b)), watcher_([this] { Watch(); }) {}
  ~LinkedStop() {
    {
      MutexLock lock(&mutex_);
      over_ = true;
      changed_.SignalAll();
    }
    watcher_.join();
  }
  LinkedStop(const LinkedStop&) = delete;
  LinkedStop& operator=(const LinkedStop&) = delete;

  Flag flag() const { return flag_; }

 private:
  static bool IsSet(const Flag& flag) { return flag != nullptr && flag->load(); }
  void Watch() {
    MutexLock lock(&mutex_);
    while (!over_ && !flag_->load()) {
      flag_->store(IsSet(a_) || IsSet(b_));
      changed_.WaitUntil(&mutex_, CondVar::Clock::now() + std::chrono::milliseconds(50));
    }
  }

  const Flag a_, b_;
  const std::shared_ptr<std::atomic<bool>> flag_ = std::make_shared<std::atomic<bool>>(false);
  Mutex mutex_;
  CondVar changed_;
  bool over_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread watcher_;  // last: it reads the others
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_LINKED_STOP_H_
