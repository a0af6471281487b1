// Remembers the vectors of recent texts.
#ifndef IMAGESEARCH_ENCODER_TEXT_CACHE_H_
#define IMAGESEARCH_ENCODER_TEXT_CACHE_H_

#include <list>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"
#include "encoder/encoder.h"

namespace imagesearch::encoder {

// The least recently used text goes first. Thread-safe.
class TextCache {
 public:
  explicit TextCache(int capacity) : capacity_(capacity > 0 ? static_cast<size_t>(capacity) : 0) {}

  std::optional<Embedding> Find(absl::string_view text) {
    if (capacity_ == 0) return std::nullopt;
    MutexLock lock(&mutex_);
    const auto found = index_.find(text);
    if (found == index_.end()) return std::nullopt;
    entries_.splice(entries_.begin(), entries_, found->second);
    return found->second->second;
  }

  void Insert(const std::string& text, const Embedding& embedding) {
    if (capacity_ == 0) return;
    MutexLock lock(&mutex_);
    if (index_.contains(text)) return;
    if (entries_.size() == capacity_) {
      index_.erase(entries_.back().first);
      entries_.pop_back();
    }
    entries_.emplace_front(text, embedding);
    index_.emplace(entries_.front().first, entries_.begin());
  }

 private:
  using Entries = std::list<std::pair<std::string, Embedding>>;

  const size_t capacity_;
  Mutex mutex_;
  Entries entries_ ABSL_GUARDED_BY(mutex_);  // most recently used first
  // Keys point into entries_, whose nodes don't move.
  absl::flat_hash_map<absl::string_view, Entries::iterator> index_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_TEXT_CACHE_H_
