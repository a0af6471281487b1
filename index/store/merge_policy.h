// When to build a new segment, out of which parts, and of which kind. Pure functions.
#ifndef IMAGESEARCH_INDEX_STORE_MERGE_POLICY_H_
#define IMAGESEARCH_INDEX_STORE_MERGE_POLICY_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "index/collection.h"

namespace imagesearch::index {

struct PartSize {
  uint64_t rows = 0;
  uint64_t live = 0;
  IndexKind requested = IndexKind::kFlat;  // what it was built as
};

struct MergePolicy {
  IndexKind wanted = IndexKind::kAuto;  // the collection's
  uint64_t merge_tail_rows = 4096;
  uint64_t min_indexed_rows = 1000;
};

// What the merger was asked for.
enum class MergeOccasion {
  kWriting,   // writes go on: keep the tail short, cheaply
  kInterval,  // the same, and a snapshot is due: merge a short tail too
  kIdle,      // nobody writes: bring the parts together
  kForced,    // Optimize: one segment of the right kind, without dead rows
};

// Parts [first_segment, end_segment) of the view's segments, and the tail where `with_tail`,
// become one segment.
struct MergePlan {
  size_t first_segment = 0;
  size_t end_segment = 0;
  bool with_tail = false;
};

// The kind to build over `rows` rows of a collection that wants `policy.wanted`; kAuto leaves the
// choice to the index (ann_index.h).
IndexKind KindFor(const MergePolicy& policy, uint64_t rows);

// Nullopt when nothing is worth building.
//
// While writing, the tail is merged once it holds merge_tail_rows, together with the segments
// before it that are at most twice as large as what is merged so far: sizes grow geometrically, so
// a row is rebuilt O(log n) times and there are O(log n) segments; but no more than an eighth of
// the collection at once, since the tail grows meanwhile. Idle time brings the rest together. A
// segment that is half dead, or of the wrong kind, is built anew on its own.
std::optional<MergePlan> PlanMerge(const MergePolicy& policy, MergeOccasion occasion,
                                   const std::vector<PartSize>& segments, const PartSize& tail);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_MERGE_POLICY_H_
