// See progress.h.
#include "client/bulk/progress.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"

namespace imagesearch::client {
namespace {

constexpr char kClearLine[] = "\r\x1b[K";

std::string Clock(absl::Duration duration) {
  const int64_t seconds = absl::ToInt64Seconds(duration);
  return seconds >= 3600
             ? absl::StrFormat("%d:%02d:%02d", seconds / 3600, seconds / 60 % 60, seconds % 60)
             : absl::StrFormat("%d:%02d", seconds / 60, seconds % 60);
}

}  // namespace

std::string ProgressLine(const IndexCounts& counts, uint64_t total, absl::Duration elapsed) {
  const double seconds = std::max(absl::ToDoubleSeconds(elapsed), 1e-3);
  const double rate = static_cast<double>(counts.done()) / seconds;
  std::string line = absl::StrCat(counts.done());
  if (total > 0) absl::StrAppend(&line, " of ", std::max(total, counts.seen));
  absl::StrAppendFormat(&line, " done, %d failed, %.1f images/s, %.1f MB/s", counts.failed, rate,
                        static_cast<double>(counts.bytes_read) / 1e6 / seconds);
  if (total > counts.done() && rate > 0) {
    absl::StrAppend(&line, ", ",
                    Clock(absl::Seconds(static_cast<double>(total - counts.done()) / rate)),
                    " left");
  }
  return line;
}

Progress::Progress(const IndexJob* job, std::ostream* out, bool terminal)
    : job_(job), out_(out), terminal_(terminal), thread_([this] { Loop(); }) {}

Progress::~Progress() {
  {
    MutexLock lock(&mutex_);
    done_ = true;
    changed_.SignalAll();
  }
  thread_.join();
  if (terminal_) *out_ << kClearLine << std::flush;
}

void Progress::Say(const std::string& line) {
  MutexLock lock(&mutex_);
  *out_ << (terminal_ ? kClearLine : "") << line << "\n" << std::flush;
}

void Progress::Loop() {
  const absl::Time start = absl::Now();
  const auto period =
      terminal_ ? std::chrono::milliseconds(200) : std::chrono::milliseconds(60'000);
  MutexLock lock(&mutex_);
  auto next = CondVar::Clock::now() + period;
  while (!done_) {
    if (changed_.WaitUntil(&mutex_, next)) continue;
    next += period;
    const std::string line = ProgressLine(job_->counts(), total_, absl::Now() - start);
    *out_ << (terminal_ ? kClearLine : "") << line << (terminal_ ? "" : "\n") << std::flush;
  }
}

}  // namespace imagesearch::client
