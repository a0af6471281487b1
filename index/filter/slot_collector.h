// Gathers slots in any order and makes a bitmap of them.
#ifndef IMAGESEARCH_INDEX_FILTER_SLOT_COLLECTOR_H_
#define IMAGESEARCH_INDEX_FILTER_SLOT_COLLECTOR_H_

#include <cstdint>
#include <vector>

#include "index/filter/bitmap.h"

namespace imagesearch::index {

// Slots that come more than once count once. Not thread-safe.
class SlotCollector {
 public:
  void Add(uint32_t slot) { slots_.push_back(slot); }
  // `bitmap` must live until Finish.
  void Add(const Bitmap& bitmap) { bitmaps_.push_back(&bitmap); }
  // Leaves the collector empty.
  Bitmap Finish();

 private:
  std::vector<uint32_t> slots_;
  std::vector<const Bitmap*> bitmaps_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_FILTER_SLOT_COLLECTOR_H_
