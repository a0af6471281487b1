// The embedded database beside the process that writes it: reads of the same data folder, a moment
// later. For replicas on a shared volume, which must keep files readable that are open and removed:
// a local file system, not NFS.
#ifndef IMAGESEARCH_INDEX_READER_DATABASE_H_
#define IMAGESEARCH_INDEX_READER_DATABASE_H_

#include <atomic>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "index/embedded_database.h"

namespace imagesearch::index {

// What the database that OpenReader returns is too. Thread-safe.
class Follower {
 public:
  virtual ~Follower() = default;
  // How old the state is that reads see, at most: every write acknowledged before then is in it.
  virtual absl::Duration staleness() const = 0;
};

struct ReaderOptions {
  // Of these, what concerns building and writing is not used.
  EmbeddedOptions embedded;
  // Between looks at what the writer has written.
  absl::Duration poll = absl::Milliseconds(20);
  // Not OK (WriteHealth) when the state is older than this.
  absl::Duration max_staleness = absl::Seconds(10);
  // Ends the wait for a folder that no writer has made yet: CANCELLED. May be null.
  std::shared_ptr<const std::atomic<bool>> cancelled;
};

// Waits until a writer has made the folder, then reads it whole and follows. Writes are refused:
// FAILED_PRECONDITION READ_ONLY. Nothing in the folder is changed, so it may be mounted read-only.
//
// Reads are what the writer's are: of one version each, with the metadata of that version. Taking
// over a batch of changes holds new calls back until the calls inside have ended and the batch is
// applied. A reader that was away for so long that change records are gone loads everything anew.
absl::StatusOr<std::unique_ptr<Database>> OpenReader(const ReaderOptions& options);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_READER_DATABASE_H_
