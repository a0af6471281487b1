// Long work in the background: listed, watched, cancelled, paused and resumed; what a restart
// interrupts is told or goes on.
#ifndef IMAGESEARCH_SERVER_OPERATIONS_OPERATIONS_H_
#define IMAGESEARCH_SERVER_OPERATIONS_OPERATIONS_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "imagesearch/v1/admin.pb.h"
#include "server/operations/operation_log.pb.h"

namespace imagesearch::server {

class Operations;

// What the work of one operation sees. Used by its thread.
class OperationRun {
 public:
  // To be called between two steps: blocks while the operation is paused. CANCELLED when the
  // operation shall end, or the server stops.
  absl::Status Continue();
  // Shown from now on. `total` 0: not known yet.
  void Report(uint64_t done, uint64_t total);
  void Describe(const std::string& detail);
  // Pauses until somebody resumes it, and says why. Then as Continue.
  absl::Status PauseSelf(const std::string& why);
  // The server stops, and the work is to go on after the next start: nobody cancelled it.
  bool interrupted() const;
  // Becomes true when the work shall end. For calls that can be cancelled.
  std::shared_ptr<const std::atomic<bool>> cancelled() const { return cancelled_; }

 private:
  friend class Operations;
  OperationRun(Operations* operations, std::string id)
      : operations_(*operations), id_(std::move(id)) {}

  Operations& operations_;
  const std::string id_;
  const std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
};

// Thread-safe.
class Operations {
 public:
  // The work. An error ends the operation as FAILED, with what it says.
  using Body = std::function<absl::Status(OperationRun& run)>;

  struct Spec {
    v1::Operation::Kind kind = v1::Operation::KIND_UNSPECIFIED;
    std::string collection;  // empty: all
    // What Restore needs to go on after a restart; empty: an interruption ends it. Only what can go
    // on can be paused.
    std::string resume;
  };

  // At most so many at a time, and so many ended ones kept.
  static constexpr int kMaxActive = 8;
  static constexpr int kMaxEnded = 100;

  // Reads the log at `path` (empty: nothing is kept); what was interrupted and can't go on is
  // FAILED with reason INTERRUPTED.
  static absl::StatusOr<std::unique_ptr<Operations>> Open(const std::string& path);
  // Stops everything as Stop does.
  ~Operations();

  // Starts those that were interrupted again, with what `make` gives for their spec; paused ones
  // wait. To be called once, before Start.
  void Restore(const std::function<absl::StatusOr<Body>(const Spec& spec)>& make);

  // Starts the work on a thread of its own, which yields to searches on a busy machine.
  // FAILED_PRECONDITION OPERATION_RUNNING when one of the same kind, or one that can be resumed,
  // works on the collection; RESOURCE_EXHAUSTED TOO_MANY_OPERATIONS.
  absl::StatusOr<v1::Operation> Start(const Spec& spec, Body body);

  // Newest first.
  std::vector<v1::Operation> List() const;
  // NOT_FOUND NO_SUCH_OPERATION. The others also FAILED_PRECONDITION OPERATION_ENDED and, for what
  // can't be paused, NOT_PAUSABLE. Each returns at once: the work notices between two steps.
  absl::StatusOr<v1::Operation> Get(const std::string& id) const;
  absl::StatusOr<v1::Operation> Cancel(const std::string& id);
  absl::StatusOr<v1::Operation> Pause(const std::string& id);
  absl::StatusOr<v1::Operation> Resume(const std::string& id);

  // Whether one that has not ended works on the collection.
  bool IsActive(v1::Operation::Kind kind, const std::string& collection) const;

  // Ends all threads. What can go on does so after the next Open.
  void Stop();

 private:
  friend class OperationRun;

  struct Entry {
    OperationRecord record;
    std::unique_ptr<OperationRun> run;  // null: ended, or not restored yet
    std::thread thread;
    bool finished = false;  // the thread is through and can be joined
  };

  explicit Operations(std::string path) : path_(std::move(path)) {}

  void Launch(Entry& entry, Body body) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Work(OperationRun* run, const Body& body);
  absl::StatusOr<Entry*> FindActive(const std::string& id) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status Continue(OperationRun& run);
  // Forgets the oldest ended ones beyond kMaxEnded and joins threads that are through.
  void Trim() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // A log that can't be written is reported in the server's log; the work goes on.
  void Save() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const std::string path_;

  mutable Mutex mutex_;
  CondVar changed_;
  std::map<uint64_t, Entry> entries_ ABSL_GUARDED_BY(mutex_);  // by order of creation
  uint64_t next_ ABSL_GUARDED_BY(mutex_) = 0;
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Time saved_ ABSL_GUARDED_BY(mutex_) = absl::InfinitePast();
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_OPERATIONS_OPERATIONS_H_
