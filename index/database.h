// A set of collections over one store, with one strictly increasing version.
#ifndef IMAGESEARCH_INDEX_DATABASE_H_
#define IMAGESEARCH_INDEX_DATABASE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "index/collection.h"

namespace imagesearch::index {

// Thread-safe. Errors of an unknown name: NOT_FOUND with reason NO_SUCH_COLLECTION.
class Database {
 public:
  virtual ~Database() = default;

  // INVALID_ARGUMENT BAD_NAME or BAD_INDEX, ALREADY_EXISTS. Returns the version of the creation.
  virtual absl::StatusOr<uint64_t> CreateCollection(const CollectionOptions& options) = 0;
  virtual absl::StatusOr<std::shared_ptr<Collection>> GetCollection(const std::string& name) = 0;
  virtual std::vector<std::shared_ptr<Collection>> ListCollections() = 0;  // by name
  virtual absl::StatusOr<uint64_t> DeleteCollection(const std::string& name) = 0;

  // Newest version; at least 1, strictly increasing over the life of the data folder.
  virtual uint64_t version() const = 0;
  // Waits until version() >= `version`: DEADLINE_EXCEEDED when it does not come in time.
  virtual absl::Status WaitForVersion(uint64_t version, absl::Time deadline) = 0;

  // Random, made with the data folder.
  virtual const std::string& instance_id() const = 0;

  // OK while writes can be served; otherwise why not (disk full, failed sync).
  virtual absl::Status WriteHealth() const = 0;

  // Stops background work, saves snapshots if `deadline` leaves time, syncs and closes. Call once,
  // at the end.
  virtual absl::Status Close(absl::Time snapshot_deadline) = 0;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_DATABASE_H_
