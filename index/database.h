// A set of collections over one store, with one strictly increasing version.
#ifndef IMAGESEARCH_INDEX_DATABASE_H_
#define IMAGESEARCH_INDEX_DATABASE_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "index/collection.h"
#include "index/database_stats.h"
#include "index/job_control.h"
#include "index/reembedding.h"

namespace imagesearch::index {

struct BackupInfo {
  uint64_t version = 0;  // the backup holds every write up to this one, and none after it
  uint64_t bytes = 0;
  uint64_t files = 0;
};

struct Alias {
  std::string name;
  std::string collection;
};

// Thread-safe. Where a collection is named its alias may stand. Errors of an unknown name:
// NOT_FOUND with reason NO_SUCH_COLLECTION.
class Database {
 public:
  virtual ~Database() = default;

  // INVALID_ARGUMENT BAD_NAME or BAD_INDEX, ALREADY_EXISTS. Returns the version of the creation.
  virtual absl::StatusOr<uint64_t> CreateCollection(const CollectionOptions& options) = 0;
  virtual absl::StatusOr<std::shared_ptr<Collection>> GetCollection(const std::string& name) = 0;
  virtual std::vector<std::shared_ptr<Collection>> ListCollections() = 0;  // by name
  virtual absl::StatusOr<uint64_t> DeleteCollection(const std::string& name) = 0;

  // Errors as those of CreateCollection. Returns the version of the change.
  virtual absl::StatusOr<uint64_t> UpdateCollection(const std::string& name,
                                                    const CollectionUpdate& update) {
    return Unsupported("changing a collection");
  }

  // Makes `alias` stand for a collection, or switches it over: calls that start afterwards see the
  // new one, and none sees half of each. INVALID_ARGUMENT BAD_NAME, ALREADY_EXISTS when a
  // collection has that name. A collection with aliases can't be deleted (FAILED_PRECONDITION
  // HAS_ALIAS).
  virtual absl::StatusOr<uint64_t> SetAlias(const std::string& alias,
                                            const std::string& collection) {
    return Unsupported("aliases");
  }
  // NOT_FOUND NO_SUCH_ALIAS.
  virtual absl::StatusOr<uint64_t> DeleteAlias(const std::string& alias) {
    return Unsupported("aliases");
  }
  virtual std::vector<Alias> ListAliases() { return {}; }  // by name

  // Begins to fill a collection of another model beside `name`, or goes on with it.
  // FAILED_PRECONDITION: SAME_MODEL; REEMBED_RUNNING (to a third model); PREVIOUS_KEPT (finish the
  // one before first).
  virtual absl::StatusOr<std::unique_ptr<Reembedding>> BeginReembed(const std::string& name,
                                                                    const ModelChange& change) {
    return Unsupported("re-embedding");
  }
  // Drops what was filled. Nothing to drop is no error.
  virtual absl::Status AbandonReembed(const std::string& name) {
    return Unsupported("re-embedding");
  }
  // After a cut-over: the collection that served before serves again, and the other one is kept.
  // FAILED_PRECONDITION NOTHING_KEPT, or WRITTEN_SINCE when there were writes since the cut-over,
  // which it does not have; `discard_writes` does it all the same.
  virtual absl::StatusOr<uint64_t> RollBackReembed(const std::string& name, bool discard_writes) {
    return Unsupported("re-embedding");
  }
  // Drops the kept one. FAILED_PRECONDITION NOTHING_KEPT.
  virtual absl::StatusOr<uint64_t> FinishReembed(const std::string& name) {
    return Unsupported("re-embedding");
  }
  virtual std::vector<ReembedInfo> ListReembeds() { return {}; }  // by name

  // Newest version; at least 1, strictly increasing over the life of the data folder.
  virtual uint64_t version() const = 0;
  // Waits until version() >= `version`: DEADLINE_EXCEEDED when it does not come in time.
  virtual absl::Status WaitForVersion(uint64_t version, absl::Time deadline) = 0;

  // Random, made with the data folder.
  virtual const std::string& instance_id() const = 0;

  // OK while writes can be served; otherwise why not (disk full, failed sync).
  virtual absl::Status WriteHealth() const = 0;

  // Looks at files: for metrics, not for each call. Nullopt where a database has no store of its
  // own, and while it is being opened anew.
  virtual std::optional<DatabaseStats> Stats() { return std::nullopt; }

  // Writes one consistent backup into `folder` (made when missing, else empty) while reads and
  // writes go on; RestoreBackup (index/embedded_database.h) makes a data folder of it. Progress is
  // in bytes. A backup that failed or was cancelled is removed again. FAILED_PRECONDITION
  // FOLDER_NOT_EMPTY, RESOURCE_EXHAUSTED DISK_FULL, CANCELLED, UNIMPLEMENTED where the database has
  // a way of its own.
  virtual absl::StatusOr<BackupInfo> CreateBackup(const std::string& folder,
                                                  const JobControl& control) {
    return Error(absl::StatusCode::kUnimplemented, "NO_BACKUP",
                 "this database is backed up with its own tools");
  }

  // Stops background work, saves snapshots if `deadline` leaves time, syncs and closes. Call once,
  // at the end.
  virtual absl::Status Close(absl::Time snapshot_deadline) = 0;

 protected:
  static absl::Status Unsupported(absl::string_view what) {
    return Error(absl::StatusCode::kUnimplemented, "UNSUPPORTED",
                 absl::StrCat("this database does not support ", what));
  }
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_DATABASE_H_
