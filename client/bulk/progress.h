// What people see while an index job runs.
#ifndef IMAGESEARCH_CLIENT_BULK_PROGRESS_H_
#define IMAGESEARCH_CLIENT_BULK_PROGRESS_H_

#include <atomic>
#include <cstdint>
#include <ostream>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "client/bulk/index_job.h"

namespace imagesearch::client {

// "1,234 of 5,000 done, 3 failed, 85.2 images/s, 12.3 MB/s, 0:44 left". `total` 0: not known yet.
std::string ProgressLine(const IndexCounts& counts, uint64_t total, absl::Duration elapsed);

// Prints from its own thread: on a terminal one line that is rewritten five times a second, else a
// plain line a minute. The destructor clears the line.
class Progress {
 public:
  // `job` and `out` must outlive it.
  Progress(const IndexJob* job, std::ostream* out, bool terminal);
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  // How many pictures there will be, once that is known.
  void SetTotal(uint64_t total) { total_ = total; }
  // Prints a line of its own between two states of the progress line. Thread-safe.
  void Say(const std::string& line);

 private:
  void Loop();

  const IndexJob* const job_;
  std::ostream* const out_;
  const bool terminal_;
  std::atomic<uint64_t> total_{0};
  Mutex mutex_;
  CondVar changed_;
  bool done_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_BULK_PROGRESS_H_
