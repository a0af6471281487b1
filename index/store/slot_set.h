// The slots that a filter allows, both as a set and in order.
#ifndef IMAGESEARCH_INDEX_STORE_SLOT_SET_H_
#define IMAGESEARCH_INDEX_STORE_SLOT_SET_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "index/filter/bitmap.h"

namespace imagesearch::index {

// Immutable and thread-safe.
class SlotSet {
 public:
  explicit SlotSet(Bitmap bitmap) : bitmap_(std::move(bitmap)), slots_(bitmap_.cardinality()) {
    bitmap_.toUint32Array(slots_.data());
  }
  bool Contains(uint32_t slot) const { return bitmap_.contains(slot); }
  absl::Span<const uint32_t> slots() const { return slots_; }  // ascending

 private:
  const Bitmap bitmap_;
  std::vector<uint32_t> slots_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_SLOT_SET_H_
