// Threads that run tasks, with a bound on what waits.
#ifndef IMAGESEARCH_SERVER_WORKER_POOL_H_
#define IMAGESEARCH_SERVER_WORKER_POOL_H_

#include <cstddef>
#include <deque>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "base/mutex.h"

namespace imagesearch::server {

// Threads start when they are first needed, up to a number, and stay. Thread-safe. The destructor
// runs what was submitted, then joins.
class WorkerPool {
 public:
  using Task = absl::AnyInvocable<void()>;

  // `name` (at most 15 bytes) shows in the system's thread lists.
  WorkerPool(std::string name, int max_threads, size_t max_queued);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // False when no thread is free and `max_queued` tasks wait already, or when the first thread
  // can't be made; then `task` is untouched.
  bool TrySubmit(Task& task);

  int max_threads() const { return max_threads_; }
  size_t queued() const;

 private:
  void Run();
  bool AddThread() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string name_;
  const int max_threads_;
  const size_t max_queued_;

  mutable Mutex mutex_;
  CondVar changed_;
  std::deque<Task> queue_ ABSL_GUARDED_BY(mutex_);
  size_t free_ ABSL_GUARDED_BY(mutex_) = 0;  // threads that run no task, just started ones included
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::vector<std::thread> threads_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_WORKER_POOL_H_
