// Accepts the connections of the gRPC port and hands them to gRPC. gRPC 1.51's own listener stops
// accepting for good once the process has run out of descriptors (CVE-2023-4785), and knows no
// bound on connections; this one has both right.
#ifndef IMAGESEARCH_SERVER_GRPC_ACCEPTOR_H_
#define IMAGESEARCH_SERVER_GRPC_ACCEPTOR_H_

#include <sys/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "prometheus/collectable.h"

namespace imagesearch::server {

struct AcceptorLimits {
  int connections = 16384;
  int of_one_client = 16384;  // see ClientOfPeer
};

// What a process may open, less what the store and everything else need, at most 16,384.
int AffordableConnections();

// Thread-safe. Shows as imagesearch_connections* in the metrics.
class Acceptor : public prometheus::Collectable {
 public:
  // Binds and listens; connections wait in the backlog until Start. `host` may be empty or "[::]"
  // (all addresses), a name, or an address, IPv6 ones in brackets. UNAVAILABLE when the port can't
  // be had: it is never shared with another process.
  static absl::StatusOr<std::shared_ptr<Acceptor>> Listen(const std::string& host, int port,
                                                          const AcceptorLimits& limits);
  ~Acceptor() override;

  int port() const { return port_; }

  // `take` gets each accepted connection, which it owns from then on; it runs on the acceptor's one
  // thread.
  void Start(std::function<void(int listener, int connection)> take);

  // Closes the port. Idempotent.
  void Stop();

  // Open connections, counted now.
  int open();

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  struct Connection {
    ino_t inode;
    std::string client;
  };

  explicit Acceptor(const AcceptorLimits& limits);
  absl::Status Bind(const std::string& host, int port);
  void Run();
  void AcceptAll(int listener);
  void RefuseForWantOfDescriptors(int listener);
  bool Admit(int fd, const std::string& client);
  void Sweep() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Forget(int fd) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const AcceptorLimits limits_;
  int port_ = 0;
  std::vector<int> listeners_;
  int wake_ = -1;   // an eventfd that ends Run
  int spare_ = -1;  // given up to accept, and close, a connection when no descriptor is left
  std::function<void(int, int)> take_;
  std::thread thread_;

  mutable Mutex mutex_;
  std::unordered_map<int, Connection> connections_ ABSL_GUARDED_BY(mutex_);
  std::unordered_map<std::string, int> by_client_ ABSL_GUARDED_BY(mutex_);
  absl::Time swept_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
  uint64_t accepted_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t refused_full_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t refused_client_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t refused_descriptors_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_GRPC_ACCEPTOR_H_
