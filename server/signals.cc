// sigtimedwait on blocked signals.
#include "server/signals.h"

#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <thread>

#include "base/steady_time.h"
#include "server/logging.h"

namespace imagesearch::server {
namespace {

// Some senders signal twice at once: timeout(1) the process and then its group.
constexpr absl::Duration kEcho = absl::Milliseconds(300);

sigset_t StopSignals() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

void BlockStopSignals() {
  const sigset_t set = StopSignals();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::signal(SIGPIPE, SIG_IGN);
}

std::optional<std::string> AwaitStopSignal(absl::Duration timeout) {
  const sigset_t set = StopSignals();
  const timespec time = absl::ToTimespec(timeout);
  const int signal = sigtimedwait(&set, nullptr, &time);
  if (signal == SIGTERM) return "SIGTERM";
  if (signal == SIGINT) return "SIGINT";
  return std::nullopt;  // the time has passed, or another signal interrupted
}

void ForceExitOnSignalOrAfter(absl::Duration limit) {
  std::thread([limit] {
    const absl::Time start = SteadyNow();
    const absl::Time end = start + limit;
    while (SteadyNow() < end) {
      if (const auto signal = AwaitStopSignal(end - SteadyNow())) {
        if (SteadyNow() - start < kEcho) continue;
        Log(LogLevel::kError, "stopped by force", {{"signal", *signal}});
        _exit(130);
      }
    }
    Log(LogLevel::kError, "draining took too long");
    _exit(1);
  }).detach();
}

}  // namespace imagesearch::server
