// Keeps writers of the same keys apart, and lets all others pass.
#ifndef IMAGESEARCH_INDEX_MILVUS_KEY_LOCKS_H_
#define IMAGESEARCH_INDEX_MILVUS_KEY_LOCKS_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"

namespace imagesearch::index {

// Thread-safe.
class KeyLocks {
 public:
  // Holds its keys until it goes; the KeyLocks must live longer.
  class Held {
   public:
    Held(Held&& other) noexcept
        : locks_(std::exchange(other.locks_, nullptr)), keys_(std::move(other.keys_)) {}
    Held& operator=(Held&&) = delete;
    ~Held();

   private:
    friend class KeyLocks;
    Held(KeyLocks* locks, std::vector<std::string> keys) : locks_(locks), keys_(std::move(keys)) {}
    KeyLocks* locks_;
    const std::vector<std::string> keys_;
  };

  // Waits until nobody holds any of `keys`, which are all different, then holds all at once: so no
  // two wait for each other. DEADLINE_EXCEEDED.
  absl::StatusOr<Held> Acquire(std::vector<std::string> keys, absl::Time deadline);

 private:
  bool AnyHeld(const std::vector<std::string>& keys) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Mutex mutex_;
  CondVar released_;
  absl::flat_hash_set<std::string> held_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_MILVUS_KEY_LOCKS_H_
