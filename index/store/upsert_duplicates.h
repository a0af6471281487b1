// Judges the uploads of one batch, inside the group commit: against what is stored, what earlier
// writers of the group have staged, and the batch itself.
#ifndef IMAGESEARCH_INDEX_STORE_UPSERT_DUPLICATES_H_
#define IMAGESEARCH_INDEX_STORE_UPSERT_DUPLICATES_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/status/statusor.h"
#include "index/collection.h"
#include "index/store/collection_state.h"
#include "index/store/write_group.h"

namespace imagesearch::index {

// Not thread-safe: the staging writer's. What the arguments point to must outlive it.
class UpsertDuplicates {
 public:
  UpsertDuplicates(const CollectionState& state, const WriteGroup& group,
                   const UpsertOptions& upsert);

  // What this upload duplicates, the surest first, at most 10. `vector` has length 1.
  // `look_alikes`: those found before the commit; the ones that are gone by now are left out.
  absl::StatusOr<std::vector<DuplicateRef>> Judge(const std::string& id,
                                                  const ImageIdentity& identity,
                                                  const std::vector<float>& vector,
                                                  const std::vector<DuplicateRef>& look_alikes);
  // The upload will be written: later ones of the batch may duplicate it.
  void Accept(const std::string& id, const ImageIdentity& identity,
              const std::vector<float>* vector);

 private:
  struct Accepted {
    const std::string* id;
    ImageIdentity identity;
    const std::vector<float>* vector;
  };
  float Cosine(const float* a, const float* b) const;
  void Consider(const std::string& id, const ImageIdentity& other, const float* other_vector,
                const ImageIdentity& identity, const std::vector<float>& vector,
                std::vector<DuplicateRef>* found) const;

  const CollectionState& state_;
  const WriteGroup& group_;
  const DuplicateTier tier_;
  const std::shared_ptr<const View> view_;
  // Of the group: slots that are no longer what the view says.
  absl::flat_hash_set<uint32_t> replaced_;
  std::vector<const MemoryChange*> pending_;  // with a vector, and still so
  std::vector<Accepted> accepted_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_UPSERT_DUPLICATES_H_
