// One thread for each caller; each keeps its own notes until the end.
#include "tests/bench/load/drive.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <optional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace imagesearch::bench {
namespace {

using Clock = std::chrono::steady_clock;

double MillisSince(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

void Note(const absl::Status& status, double ms, Outcome& outcome) {
  if (status.ok()) {
    outcome.accepted_ms.push_back(ms);
  } else if (absl::IsResourceExhausted(status)) {
    outcome.refused_ms.push_back(ms);
    outcome.refused_without_advice += !RetryAfterOf(status).has_value();
  } else if (absl::IsDeadlineExceeded(status)) {
    ++outcome.expired;
  } else if (absl::IsCancelled(status)) {
    ++outcome.cancelled;
  } else if (++outcome.failed == 1) {
    outcome.first_failure = std::string(status.message());
  }
}

void Merge(const Outcome& part, Outcome& whole) {
  const auto append = [](const std::vector<double>& from, std::vector<double>& to) {
    to.insert(to.end(), from.begin(), from.end());
  };
  append(part.accepted_ms, whole.accepted_ms);
  append(part.refused_ms, whole.refused_ms);
  whole.sent += part.sent;
  whole.expired += part.expired;
  whole.cancelled += part.cancelled;
  whole.failed += part.failed;
  whole.refused_without_advice += part.refused_without_advice;
  if (whole.first_failure.empty()) whole.first_failure = part.first_failure;
  whole.latest_ms = std::max(whole.latest_ms, part.latest_ms);
}

// rate 0: closed loop.
Outcome Drive(double rate, int threads, double seconds, uint64_t first, pid_t server,
              const Call& call) {
  std::atomic<uint64_t> next{0};
  std::vector<Outcome> parts(threads);
  std::vector<std::thread> callers;
  const CpuTimes before = ReadCpuTimes(server);
  const auto start = Clock::now();
  const auto end =
      start + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
  for (int thread = 0; thread < threads; ++thread) {
    callers.emplace_back([&, thread] {
      Outcome& mine = parts[thread];
      while (true) {
        const uint64_t number = next.fetch_add(1);
        if (rate > 0) {
          const auto due = start + std::chrono::duration_cast<Clock::duration>(
                                       std::chrono::duration<double>(number / rate));
          if (due >= end) return;
          std::this_thread::sleep_until(due);
          mine.latest_ms = std::max(mine.latest_ms, MillisSince(due));
        } else if (Clock::now() >= end) {
          return;
        }
        ++mine.sent;
        const auto sent = Clock::now();
        const absl::Status status = call(first + number, thread);
        Note(status, MillisSince(sent), mine);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  Outcome whole;
  whole.seconds = MillisSince(start) / 1000;
  whole.cpu = ReadCpuTimes(server) - before;
  for (const Outcome& part : parts) Merge(part, whole);
  std::sort(whole.accepted_ms.begin(), whole.accepted_ms.end());
  std::sort(whole.refused_ms.begin(), whole.refused_ms.end());
  return whole;
}

}  // namespace

double Percentile(const std::vector<double>& sorted, double p) {
  if (sorted.empty()) return 0;
  return sorted[static_cast<size_t>(p * static_cast<double>(sorted.size() - 1))];
}

Outcome DriveClosed(int threads, double seconds, uint64_t first, pid_t server, const Call& call) {
  return Drive(0, threads, seconds, first, server, call);
}

Outcome DriveOpen(double rate, int threads, double seconds, uint64_t first, pid_t server,
                  const Call& call) {
  return Drive(rate, threads, seconds, first, server, call);
}

}  // namespace imagesearch::bench
