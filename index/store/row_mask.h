// From slots that match a filter to rows that a search may return.
#ifndef IMAGESEARCH_INDEX_STORE_ROW_MASK_H_
#define IMAGESEARCH_INDEX_STORE_ROW_MASK_H_

#include <cstdint>
#include <vector>

#include "index/ann/ann_index.h"
#include "index/store/slot_set.h"
#include "index/store/view.h"

namespace imagesearch::index {

// The live, allowed rows of one segment. `allowed` null: all slots. Keeps what mask() points into;
// the part must outlive it.
class SegmentMask {
 public:
  SegmentMask(const SegmentPart& part, const SlotSet* allowed);
  const RowMask& mask() const { return mask_; }
  // How many rows the mask allows; exact.
  uint32_t count() const { return count_; }

 private:
  std::vector<uint64_t> words_;
  RowMask mask_;
  uint32_t count_ = 0;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_ROW_MASK_H_
