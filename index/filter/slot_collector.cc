// Sorting slots before they go into a bitmap: CRoaring adds a sorted run many times faster.
#include "index/filter/slot_collector.h"

#include <algorithm>

namespace imagesearch::index {
namespace {

// Sorts and drops doubles.
void SortSlots(std::vector<uint32_t>& slots) {
  const uint32_t highest = *std::max_element(slots.begin(), slots.end());
  if (highest / 32 > slots.size()) {
    std::sort(slots.begin(), slots.end());
    slots.erase(std::unique(slots.begin(), slots.end()), slots.end());
    return;
  }
  // Dense: through a bit for each possible slot.
  std::vector<uint64_t> words(highest / 64 + 1);
  for (uint32_t slot : slots) words[slot / 64] |= uint64_t{1} << (slot % 64);
  slots.clear();
  for (size_t i = 0; i < words.size(); ++i) {
    for (uint64_t word = words[i]; word != 0; word &= word - 1) {
      slots.push_back(static_cast<uint32_t>(i * 64 + __builtin_ctzll(word)));
    }
  }
}

}  // namespace

Bitmap SlotCollector::Finish() {
  Bitmap result;
  if (bitmaps_.size() == 1) result = *bitmaps_[0];
  if (bitmaps_.size() > 1) result = Bitmap::fastunion(bitmaps_.size(), bitmaps_.data());
  if (!slots_.empty()) {
    SortSlots(slots_);
    if (result.isEmpty()) {
      result.addMany(slots_.size(), slots_.data());
    } else {
      Bitmap rest;
      rest.addMany(slots_.size(), slots_.data());
      result |= rest;
    }
  }
  slots_.clear();
  bitmaps_.clear();
  return result;
}

}  // namespace imagesearch::index
