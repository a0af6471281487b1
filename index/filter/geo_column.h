// Points of one field on a grid, for geo filters.
#ifndef IMAGESEARCH_INDEX_FILTER_GEO_COLUMN_H_
#define IMAGESEARCH_INDEX_FILTER_GEO_COLUMN_H_

#include <cstdint>
#include <vector>

#include "absl/container/btree_map.h"
#include "index/filter/geo.h"
#include "index/filter/slot_collector.h"

namespace imagesearch::index {

// At most one point for each slot. Not thread-safe; concurrent reads are fine.
class GeoColumn {
 public:
  // `point` is valid.
  void Add(const GeoPoint& point, uint32_t slot);
  void Remove(const GeoPoint& point, uint32_t slot);
  bool empty() const { return cells_.empty(); }
  uint64_t memory_bytes() const { return cells_.size() * 64 + points_ * sizeof(Entry); }

  void Within(const GeoArea& area, SlotCollector& out) const;

 private:
  struct Entry {
    GeoPoint point;
    uint32_t slot;
  };
  // Cells are 1/64 degree wide (1.7 km in latitude). Key: row from the south, then column from the
  // west.
  absl::btree_map<uint32_t, std::vector<Entry>> cells_;
  uint64_t points_ = 0;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_FILTER_GEO_COLUMN_H_
