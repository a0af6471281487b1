// Group commit: writers that come while a log sync runs share the next one.
#ifndef IMAGESEARCH_INDEX_STORE_GROUP_COMMIT_H_
#define IMAGESEARCH_INDEX_STORE_GROUP_COMMIT_H_

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "index/store/rocks_store.h"
#include "index/store/write_group.h"

namespace imagesearch::index {

// The one writer of a store, and the keeper of its version. Thread-safe.
class GroupCommit {
 public:
  // Adds an op to the group, or fails and adds nothing. Runs on whichever writer leads.
  using Stage = std::function<absl::Status(WriteGroup* group)>;

  // Open must be called first, and again when the store was opened anew. Nobody may be in Run then.
  void Open(RocksStore* store);

  // Waits until what `stage` added is durable and visible. FAILED_PRECONDITION READ_ONLY in a
  // reader. An op that is alone in its group
  // (`exclusive`) sees no half-made change of the set of collections.
  absl::Status Run(const Stage& stage, bool exclusive = false);

  // Of a reader, which never calls Open: `version` is visible now.
  void Advance(uint64_t version);

  // The newest visible version.
  uint64_t version() const { return version_.load(); }
  absl::Status WaitForVersion(uint64_t version, absl::Time deadline);

 private:
  struct Writer {
    const Stage* stage;
    bool exclusive;
    absl::Status status;
    bool staged = false;
    bool done = false;
  };
  // Leads: stages, commits and publishes for writers[0, count).
  void Commit(Writer* const* writers, size_t count);

  RocksStore* store_ = nullptr;
  std::atomic<uint64_t> version_{0};

  Mutex mutex_;
  CondVar changed_;                                    // a writer is done, or the version moved
  std::deque<Writer*> queue_ ABSL_GUARDED_BY(mutex_);  // the first one leads
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_GROUP_COMMIT_H_
