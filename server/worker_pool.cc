// A queue, and threads that grow with it.
#include "server/worker_pool.h"

#include <pthread.h>

#include <exception>
#include <utility>

namespace imagesearch::server {

WorkerPool::WorkerPool(std::string name, int max_threads, size_t max_queued)
    : name_(std::move(name)), max_threads_(max_threads), max_queued_(max_queued) {}

WorkerPool::~WorkerPool() {
  std::vector<std::thread> threads;
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    threads.swap(threads_);
    changed_.SignalAll();
  }
  for (std::thread& thread : threads) thread.join();
}

bool WorkerPool::TrySubmit(Task& task) {
  MutexLock lock(&mutex_);
  if (stopping_) return false;
  if (queue_.size() >= free_) {
    const bool grown = static_cast<int>(threads_.size()) < max_threads_ && AddThread();
    if (!grown && (threads_.empty() || queue_.size() >= free_ + max_queued_)) return false;
  }
  queue_.push_back(std::move(task));
  changed_.Signal();
  return true;
}

// False when the system gives none: memory or its bound on threads is used up.
bool WorkerPool::AddThread() {
  try {
    threads_.emplace_back([this] { Run(); });
  } catch (const std::exception&) {
    return false;
  }
  ++free_;
  pthread_setname_np(threads_.back().native_handle(), name_.substr(0, 15).c_str());
  return true;
}

size_t WorkerPool::queued() const {
  MutexLock lock(&mutex_);
  return queue_.size();
}

void WorkerPool::Run() {
  mutex_.Lock();
  while (true) {
    while (queue_.empty() && !stopping_) changed_.Wait(&mutex_);
    if (queue_.empty()) break;
    Task task = std::move(queue_.front());
    queue_.pop_front();
    --free_;
    mutex_.Unlock();
    task();
    task = nullptr;
    mutex_.Lock();
    ++free_;
  }
  mutex_.Unlock();
}

}  // namespace imagesearch::server
