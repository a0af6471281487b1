// From the store to memory: what a collection holds when the server starts.
#ifndef IMAGESEARCH_INDEX_STORE_RECOVERY_H_
#define IMAGESEARCH_INDEX_STORE_RECOVERY_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "index/store/collection_state.h"
#include "index/store/engine.h"
#include "index/store/records.pb.h"

namespace imagesearch::index {

// The records of all collections. DATA_LOSS when one is unreadable.
absl::StatusOr<std::vector<records::CollectionRecord>> ReadCollectionRecords(
    const RocksStore& store);

// That of one collection.
absl::StatusOr<records::CollectionRecord> ReadCollectionRecord(const RocksStore& store,
                                                               uint32_t id);
// Alias -> name of its collection.
absl::StatusOr<std::map<std::string, std::string>> ReadAliases(const RocksStore& store);

CollectionOptions OptionsOf(const records::CollectionRecord& record);
records::CollectionRecord RecordOf(uint32_t id, const CollectionOptions& options);

// Fills the state of one collection, which is empty. DATA_LOSS when items and vectors do not belong
// together.
absl::Status LoadCollection(Engine* engine, CollectionState* state);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_RECOVERY_H_
