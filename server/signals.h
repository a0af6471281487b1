// Waits for SIGTERM and SIGINT without a signal handler.
#ifndef IMAGESEARCH_SERVER_SIGNALS_H_
#define IMAGESEARCH_SERVER_SIGNALS_H_

#include <optional>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace imagesearch::server {

// Blocks both signals in this thread and all that it starts later: call first thing in main().
// SIGPIPE is ignored.
void BlockStopSignals();

// "SIGTERM" or "SIGINT", or nothing once `timeout` has passed.
std::optional<std::string> AwaitStopSignal(absl::Duration timeout);

// From 300 ms on a stop signal ends the process at once (exit code 130), and so does the passing of
// `limit` (exit code 1).
void ForceExitOnSignalOrAfter(absl::Duration limit);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_SIGNALS_H_
