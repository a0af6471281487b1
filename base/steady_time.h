// The clock of deadlines and durations.
#ifndef IMAGESEARCH_BASE_STEADY_TIME_H_
#define IMAGESEARCH_BASE_STEADY_TIME_H_

#include <chrono>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace imagesearch {

// The time, as the wall clock showed it when this was first asked and has run on since: setting the
// wall clock moves no deadline that is told by this, and makes no wait longer or shorter. For what
// others see or have set (expiry, certificates, logs) it is absl::Now(). Thread-safe.
inline absl::Time SteadyNow() {
  using Clock = std::chrono::steady_clock;
  static const absl::Time wall = absl::Now();
  static const Clock::time_point start = Clock::now();
  return wall + absl::FromChrono(Clock::now() - start);
}

}  // namespace imagesearch

#endif  // IMAGESEARCH_BASE_STEADY_TIME_H_
