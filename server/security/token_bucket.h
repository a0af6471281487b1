// A rate limit: tokens come at a rate and are taken by work.
#ifndef IMAGESEARCH_SERVER_SECURITY_TOKEN_BUCKET_H_
#define IMAGESEARCH_SERVER_SECURITY_TOKEN_BUCKET_H_

#include <algorithm>
#include <chrono>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/mutex.h"

namespace imagesearch::server {

// Thread-safe. Holds at most one second's worth. Work larger than what is there is let through when
// the bucket is not in debt, and puts it in debt: so a batch above the rate passes, and its
// successor waits.
class TokenBucket {
 public:
  using Clock = std::chrono::steady_clock;

  // Zero when `tokens` were taken, else how long until they can be. `rate` (tokens a second) may
  // change between calls.
  absl::Duration Take(double tokens, double rate, Clock::time_point now = Clock::now()) {
    MutexLock lock(&mutex_);
    const double seconds = std::chrono::duration<double>(now - time_).count();
    level_ = first_ ? rate : std::min(rate, level_ + std::max(0.0, seconds) * rate);
    first_ = false;
    time_ = now;
    const double needed = std::min({tokens, rate, 1.0});
    if (level_ >= needed) {
      level_ -= tokens;
      return absl::ZeroDuration();
    }
    return absl::Seconds((needed - level_) / rate);
  }

 private:
  Mutex mutex_;
  bool first_ ABSL_GUARDED_BY(mutex_) = true;
  double level_ ABSL_GUARDED_BY(mutex_) = 0;
  Clock::time_point time_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_SECURITY_TOKEN_BUCKET_H_
