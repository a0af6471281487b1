// Decides `live` and `ready` while the server runs: does the listener accept, do the towers move,
// can writes be served.
#ifndef IMAGESEARCH_SERVER_HEALTH_WATCHDOG_H_
#define IMAGESEARCH_SERVER_HEALTH_WATCHDOG_H_

#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"

namespace imagesearch::server {

// Opens a new connection to the port on this host, says hello as an HTTP/2 or (`tls`) TLS client
// and waits for the first byte of the server, or for its refusal of ours: a listener whose accept
// loop has died takes connections into its backlog but never says a word. UNAVAILABLE with the
// reason otherwise, also when this process has no file descriptor left.
absl::Status ProbeListener(const std::string& host, int port, bool tls, absl::Duration timeout);

struct WatchdogOptions {
  absl::Duration interval = absl::Seconds(5);
  // Each OK, or why not. Called from the watchdog's thread.
  std::function<absl::Status()> live, ready;
  // Called with each change, and with the first states.
  std::function<void(const absl::Status&)> on_live, on_ready;
};

// One thread that asks until destruction.
class Watchdog {
 public:
  explicit Watchdog(WatchdogOptions options);
  ~Watchdog();

 private:
  void Run();

  const WatchdogOptions options_;
  Mutex mutex_;
  CondVar stopped_;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread thread_;
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HEALTH_WATCHDOG_H_
