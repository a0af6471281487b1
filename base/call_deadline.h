// Until when the work of the current thread is of use to somebody. Set where a call enters, read
// where this program asks another machine, so that the interfaces between need not hand it through.
#ifndef IMAGESEARCH_BASE_CALL_DEADLINE_H_
#define IMAGESEARCH_BASE_CALL_DEADLINE_H_

#include <algorithm>

#include "absl/time/time.h"

namespace imagesearch {

// In force on this thread as long as it lives. Nested ones only shorten.
class CallDeadline {
 public:
  explicit CallDeadline(absl::Time deadline) : outer_(current_) {
    current_ = std::min(current_, deadline);
  }
  ~CallDeadline() { current_ = outer_; }
  CallDeadline(const CallDeadline&) = delete;
  CallDeadline& operator=(const CallDeadline&) = delete;

  // InfiniteFuture where none is set.
  static absl::Time Current() { return current_; }

 private:
  inline static thread_local absl::Time current_ = absl::InfiniteFuture();
  const absl::Time outer_;
};

}  // namespace imagesearch

#endif  // IMAGESEARCH_BASE_CALL_DEADLINE_H_
