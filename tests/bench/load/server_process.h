// The server under load: an imagesearchd of its own, on free ports and an empty data folder.
#ifndef IMAGESEARCH_TESTS_BENCH_LOAD_SERVER_PROCESS_H_
#define IMAGESEARCH_TESTS_BENCH_LOAD_SERVER_PROCESS_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"

namespace imagesearch::bench {

// Not thread-safe, but for pid(), Connect() and Metric().
class ServerProcess {
 public:
  // Starts `binary` with these flags and waits until it is ready to serve. UNAVAILABLE with the end
  // of its log when it is not within three minutes.
  static absl::StatusOr<std::unique_ptr<ServerProcess>> Start(
      const std::string& binary, const std::vector<std::string>& flags);
  // Kills it if Stop() was not called, and removes its folder.
  ~ServerProcess();
  ServerProcess(const ServerProcess&) = delete;
  ServerProcess& operator=(const ServerProcess&) = delete;

  pid_t pid() const { return pid_; }

  // A client with a connection of its own, which makes one attempt of each call.
  absl::StatusOr<std::unique_ptr<client::Client>> Connect(absl::Duration timeout) const;
  std::shared_ptr<grpc::Channel> Channel() const;

  // The sum over all labels of that family of /metrics; with `label` (name="value"), of those that
  // have it. 0 where there is none.
  double Metric(const std::string& family, const std::string& label = "") const;

  // SIGTERM; an error unless it ends with exit code 0 within 40 seconds.
  absl::Status Stop();

 private:
  ServerProcess() = default;
  absl::Status AwaitReady();
  std::string LogTail() const;

  std::string folder_;
  pid_t pid_ = 0;
  int port_ = 0, http_port_ = 0;
};

}  // namespace imagesearch::bench

#endif  // IMAGESEARCH_TESTS_BENCH_LOAD_SERVER_PROCESS_H_
