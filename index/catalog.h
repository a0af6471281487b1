// The collections of an embedded database with their names, aliases and settings. Each change of
// them is one durable batch, and readers see it as a whole.
#ifndef IMAGESEARCH_INDEX_CATALOG_H_
#define IMAGESEARCH_INDEX_CATALOG_H_

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "index/database.h"
#include "index/embedded_collection.h"
#include "index/store/engine.h"

namespace imagesearch::index {

absl::Status NoSuchCollection(const std::string& name);
// The change record of whatever Catalog does to `collection`, but for making and deleting it.
records::Change CatalogChange(uint32_t collection);

// Thread-safe. Errors of an unknown name: NOT_FOUND NO_SUCH_COLLECTION or NO_SUCH_ALIAS.
class Catalog {
 public:
  using CollectionPtr = std::shared_ptr<EmbeddedCollection>;

  explicit Catalog(std::shared_ptr<Engine> engine) : engine_(std::move(engine)) {}

  // Reads names and aliases from the store, and fills every collection; those that were known
  // before are filled again. Nobody else may use the store meanwhile.
  absl::Status Load();
  // The same, but what is known already stays as it is: for a reader that follows the changes.
  absl::Status Refresh();
  // Lets go of everything that Load filled, so that the store can be closed. The names stay.
  void Unload();

  absl::StatusOr<uint64_t> Create(const CollectionOptions& options);
  absl::StatusOr<uint64_t> Delete(const std::string& name);
  absl::StatusOr<uint64_t> Update(const std::string& name, const CollectionUpdate& update);
  absl::StatusOr<uint64_t> SetAlias(const std::string& alias, const std::string& collection);
  absl::StatusOr<uint64_t> DeleteAlias(const std::string& alias);
  std::vector<Alias> Aliases() const;

  // Re-embedding: see Database.
  absl::StatusOr<std::unique_ptr<Reembedding>> BeginReembed(const std::string& name,
                                                            const ModelChange& change);
  absl::Status AbandonReembed(const std::string& name);
  absl::StatusOr<uint64_t> RollBackReembed(const std::string& name, bool discard_writes);
  absl::StatusOr<uint64_t> FinishReembed(const std::string& name);
  std::vector<ReembedInfo> ListReembeds() const;
  // The collection beside `source` that BeginReembed made takes its place.
  absl::StatusOr<uint64_t> CutOver(const CollectionPtr& source, const CollectionPtr& target);

  // By name or alias; null when there is none. Never one beside another.
  CollectionPtr Find(const std::string& name) const;
  std::vector<CollectionPtr> Serving() const;  // by name
  // Those beside others too.
  std::vector<CollectionPtr> All() const;

  // Deleted since the last call, with files left to remove.
  std::vector<uint32_t> TakeRetired();

 private:
  absl::Status LoadRecords(bool fill_known);
  CollectionPtr FindLocked(const std::string& name) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Not through an alias.
  CollectionPtr FindByName(const std::string& name) const;
  bool IsAlias(const std::string& name) const;

  // A collection beside the one called `of`.
  struct Beside {
    CollectionPtr collection;
    std::string of;
    records::CollectionRecord::Role role = records::CollectionRecord::BUILDING;
    uint64_t switched_version = 0;  // KEPT: of the cut-over
  };
  std::optional<Beside> FindBeside(const std::string& of,
                                   records::CollectionRecord::Role role) const;
  std::vector<Beside> AllBeside(const std::string& of) const;

  // Parts of ops: within a stage that is alone in its group.
  absl::StatusOr<uint64_t> StageCreate(WriteGroup* group, CollectionOptions options,
                                       const std::string& beside_of);
  uint64_t StageDelete(WriteGroup* group, const CollectionPtr& collection);
  // `next` serves in the place of `now`, which is kept.
  absl::StatusOr<uint64_t> StageSwitch(WriteGroup* group, const CollectionPtr& now,
                                       const CollectionPtr& next);
  absl::StatusOr<uint64_t> Run(
      const std::function<absl::StatusOr<uint64_t>(WriteGroup* group)>& stage);

  const std::shared_ptr<Engine> engine_;

  mutable Mutex mutex_;
  std::map<std::string, CollectionPtr> collections_ ABSL_GUARDED_BY(mutex_);
  std::map<uint32_t, Beside> beside_ ABSL_GUARDED_BY(mutex_);           // by number
  std::map<std::string, std::string> aliases_ ABSL_GUARDED_BY(mutex_);  // -> name
  std::vector<uint32_t> retired_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_CATALOG_H_
