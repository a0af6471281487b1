// How a long piece of work is watched and stopped by whoever asked for it.
#ifndef IMAGESEARCH_INDEX_JOB_CONTROL_H_
#define IMAGESEARCH_INDEX_JOB_CONTROL_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "base/error.h"

namespace imagesearch::index {

struct JobControl {
  // Called now and then, from the thread that works, with growing `done` <= `total`; may be null.
  // The unit is the job's.
  std::function<void(uint64_t done, uint64_t total)> progress;
  // Set to true by the caller: the job ends soon, with CANCELLED, and leaves nothing half-made.
  // May be null.
  std::shared_ptr<const std::atomic<bool>> cancelled;

  bool IsCancelled() const {
    return cancelled != nullptr && cancelled->load(std::memory_order_relaxed);
  }
  void Report(uint64_t done, uint64_t total) const {
    if (progress) progress(done, total);
  }
};

inline absl::Status JobCancelled() {
  return Error(absl::StatusCode::kCancelled, "CANCELLED", "the work was cancelled");
}

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_JOB_CONTROL_H_
