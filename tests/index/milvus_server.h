// A Milvus server for tests, from the PyPI packages that deploy/install-deps.sh --tests installs.
#ifndef IMAGESEARCH_TESTS_INDEX_MILVUS_SERVER_H_
#define IMAGESEARCH_TESTS_INDEX_MILVUS_SERVER_H_

#include <sys/types.h>

#include <memory>
#include <string>
#include <vector>

#include "index/milvus/milvus_database.h"

namespace imagesearch::index {

// kReal is Milvus 2.3.5 with all its roles in one process, a time tick of 20 ms; kLite is
// milvus-lite 3.2.2, which speaks the protocol of newer servers.
enum class MilvusKind { kReal, kLite };

struct MilvusServerOptions {
  MilvusKind kind = MilvusKind::kReal;
  // Of kReal: a certificate and key (PEM); clients must speak TLS then. Also turns logins on (root,
  // Milvus).
  std::string certificate_file{};
  std::string key_file{};
};

// Runs from construction to destruction, and never outlives this process. A server that can't start
// is a failure of the test that needs it. Machines have ports for one kReal at a time: a second
// waits for the first, whatever its process.
class MilvusServer {
 public:
  explicit MilvusServer(MilvusServerOptions options);
  ~MilvusServer();
  MilvusServer(const MilvusServer&) = delete;
  MilvusServer& operator=(const MilvusServer&) = delete;

  const std::string& address() const {
    return address_;
  }  // HOST:PORT, the same after Kill and Start

  // By SIGKILL: nothing is flushed.
  void Kill();
  // Returns when the process is there; it takes seconds more until it serves.
  void Start();
  // Stops and continues the process: it accepts connections and answers nothing meanwhile.
  void Freeze();
  void Thaw();

  // Until the server accepts connections; false, and a failure of the test, when it ended or takes
  // too long.
  bool AwaitPort();
  // Opened with these options but for the address; the test fails when that takes more than two
  // minutes.
  std::unique_ptr<Database> Open(MilvusOptions options);

 private:
  void Spawn(const std::vector<std::string>& command);

  const MilvusServerOptions options_;
  std::string folder_;
  std::string address_;
  int port_ = 0;
  pid_t group_ = 0;
  int lock_ = -1;         // of the machine
  int keeper_pipe_ = -1;  // closed: the keeper kills the group
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_TESTS_INDEX_MILVUS_SERVER_H_
