// The collections of an embedded database with their names, aliases and settings. Each change of
// them is one durable batch, and readers see it as a whole.
#ifndef IMAGESEARCH_INDEX_CATALOG_H_
#define IMAGESEARCH_INDEX_CATALOG_H_

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "index/database.h"
#include "index/embedded_collection.h"
#include "index/store/engine.h"

namespace imagesearch::index {

// Thread-safe. Errors of an unknown name: NOT_FOUND NO_SUCH_COLLECTION or NO_SUCH_ALIAS.
class Catalog {
 public:
  using CollectionPtr = std::shared_ptr<EmbeddedCollection>;

  explicit Catalog(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) {}

  // Reads names and aliases from the store, and fills every collection; those that were known
  // before are filled again. Nobody else may use the store meanwhile.
  absl::Status Load();
  // Lets go of everything that Load filled, so that the store can be closed. The names stay.
  void Unload();

  absl::StatusOr<uint64_t> Create(const CollectionOptions& options);
  absl::StatusOr<uint64_t> Delete(const std::string& name);
  absl::StatusOr<uint64_t> Update(const std::string& name, const CollectionUpdate& update);
  absl::StatusOr<uint64_t> SetAlias(const std::string& alias, const std::string& collection);
  absl::StatusOr<uint64_t> DeleteAlias(const std::string& alias);
  std::vector<Alias> Aliases() const;

  // By name or alias; null when there is none.
  CollectionPtr Find(const std::string& name) const;
  std::vector<CollectionPtr> All() const;  // by name

  // Deleted since the last call, with files left to remove.
  std::vector<uint32_t> TakeRetired();

 private:
  CollectionPtr FindLocked(const std::string& name) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Not through an alias.
  CollectionPtr FindByName(const std::string& name) const;
  bool IsAlias(const std::string& name) const;

  const std::shared_ptr<Engine> engine_;

  mutable Mutex mutex_;
  std::map<std::string, CollectionPtr> collections_ ABSL_GUARDED_BY(mutex_);
  std::map<std::string, std::string> aliases_ ABSL_GUARDED_BY(mutex_);  // -> name
  std::vector<uint32_t> retired_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_CATALOG_H_
