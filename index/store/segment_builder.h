// Builds segments from the store and reads them back from their files.
#ifndef IMAGESEARCH_INDEX_STORE_SEGMENT_BUILDER_H_
#define IMAGESEARCH_INDEX_STORE_SEGMENT_BUILDER_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "index/store/collection_state.h"
#include "index/store/engine.h"
#include "index/store/segment.h"

namespace imagesearch::index {

// The folder of a collection's index files.
std::string IndexFolder(const Engine& engine, uint32_t collection);

FileIdentity IdentityOf(const Engine& engine, const CollectionState& state);

// A segment over what `snapshot` holds in slots [first_slot, end_slot), with its files written and
// synced. `kind_for(rows)` names the kind. Null when no row is there. CANCELLED when
// `control` says so, which must include the engine's own flag.
absl::StatusOr<std::shared_ptr<const Segment>> BuildSegment(
    Engine* engine, const CollectionState& state, const StoreSnapshot& snapshot,
    uint32_t first_slot, uint32_t end_slot, const std::function<IndexKind(uint64_t)>& kind_for,
    int threads, const JobControl& control);

// DATA_LOSS or NOT_FOUND when its files are not whole.
absl::StatusOr<std::shared_ptr<const Segment>> ReadSegment(const Engine& engine,
                                                           const CollectionState& state,
                                                           const std::string& name);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_SEGMENT_BUILDER_H_
