// Sends calls from many threads, as fast as they are answered or at a fixed rate, and notes what
// becomes of each.
#ifndef IMAGESEARCH_TESTS_BENCH_LOAD_DRIVE_H_
#define IMAGESEARCH_TESTS_BENCH_LOAD_DRIVE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "tests/bench/load/cpu.h"

namespace imagesearch::bench {

// Makes one call and waits for its answer. Called from several threads; `number` differs in each
// call, `thread` counts from 0.
using Call = std::function<absl::Status(uint64_t number, int thread)>;

struct Outcome {
  std::vector<double> accepted_ms;  // sorted; of the calls that were answered OK
  std::vector<double> refused_ms;   // sorted; RESOURCE_EXHAUSTED
  uint64_t sent = 0, expired = 0, cancelled = 0, failed = 0;  // failed: any other code
  uint64_t refused_without_advice = 0;                        // of the refused: no retry delay
  std::string first_failure;
  double seconds = 0;
  double latest_ms = 0;  // at a fixed rate: how late the call was sent that was latest
  CpuTimes cpu;          // spent meanwhile

  double rate() const { return static_cast<double>(accepted_ms.size()) / seconds; }
  uint64_t accepted() const { return accepted_ms.size(); }
  uint64_t refused() const { return refused_ms.size(); }
};

// The value below which the share `p` of the sorted values lies; 0 when there are none.
double Percentile(const std::vector<double>& sorted, double p);

// `threads` callers, each of which sends its next call once the last is answered. `first` is the
// number of the first call. `server` as for ReadCpuTimes.
Outcome DriveClosed(int threads, double seconds, uint64_t first, pid_t server, const Call& call);

// `rate` calls a second whatever becomes of them, from at most `threads` callers.
Outcome DriveOpen(double rate, int threads, double seconds, uint64_t first, pid_t server,
                  const Call& call);

}  // namespace imagesearch::bench

#endif  // IMAGESEARCH_TESTS_BENCH_LOAD_DRIVE_H_
