// A queue between threads that holds a bounded number of items and of bytes.
#ifndef IMAGESEARCH_CLIENT_BULK_BOUNDED_QUEUE_H_
#define IMAGESEARCH_CLIENT_BULK_BOUNDED_QUEUE_H_

#include <cstddef>
#include <deque>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"

namespace imagesearch::client {

// Thread-safe. An item heavier than `max_bytes` is taken when the queue is empty.
template <typename T>
class BoundedQueue {
 public:
  BoundedQueue(size_t max_items, size_t max_bytes) : max_items_(max_items), max_bytes_(max_bytes) {}

  // Blocks while the queue is full. False once it is closed: the item was not taken.
  bool Push(T item, size_t bytes) {
    MutexLock lock(&mutex_);
    while (!closed_ && !items_.empty() &&
           (items_.size() >= max_items_ || bytes_ + bytes > max_bytes_)) {
      changed_.Wait(&mutex_);
    }
    if (closed_) return false;
    items_.emplace_back(std::move(item), bytes);
    bytes_ += bytes;
    changed_.SignalAll();
    return true;
  }

  // Blocks while the queue is empty. Nothing once it is closed and empty.
  std::optional<T> Pop() {
    MutexLock lock(&mutex_);
    while (!closed_ && items_.empty()) changed_.Wait(&mutex_);
    if (items_.empty()) return std::nullopt;
    auto [item, bytes] = std::move(items_.front());
    items_.pop_front();
    bytes_ -= bytes;
    changed_.SignalAll();
    return std::move(item);
  }

  void Close() {
    MutexLock lock(&mutex_);
    closed_ = true;
    changed_.SignalAll();
  }

 private:
  const size_t max_items_;
  const size_t max_bytes_;
  Mutex mutex_;
  CondVar changed_;
  std::deque<std::pair<T, size_t>> items_ ABSL_GUARDED_BY(mutex_);
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_BULK_BOUNDED_QUEUE_H_
