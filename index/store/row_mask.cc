#include "index/store/row_mask.h"

#include <algorithm>

namespace imagesearch::index {
namespace {

absl::Span<const uint32_t> Between(absl::Span<const uint32_t> slots, uint32_t first, uint32_t end) {
  const auto from = std::lower_bound(slots.begin(), slots.end(), first);
  const auto to = std::lower_bound(from, slots.end(), end);
  return slots.subspan(from - slots.begin(), to - from);
}

}  // namespace

SegmentMask::SegmentMask(const SegmentPart& part, const SlotSet* allowed) {
  const Segment& segment = *part.segment;
  if (allowed == nullptr) {
    count_ = part.live;
    if (part.alive != nullptr) mask_.words = part.alive->data();
    mask_.count = count_;
    return;
  }
  words_.assign((segment.rows() + 63) / 64, 0);
  auto allow = [&](uint32_t row) {
    if (!part.IsAlive(row)) return;
    words_[row >> 6] |= uint64_t{1} << (row & 63);
    ++count_;
  };
  const uint32_t first = segment.first_slot();
  const auto wanted = Between(allowed->slots(), first, segment.end_slot());
  if (segment.rows() == segment.end_slot() - first) {
    for (uint32_t slot : wanted) allow(slot - first);
  } else {
    // Slots and rows ascend together: a walk over both, in steps that double, so that a few slots
    // among many rows cost few comparisons.
    const auto slots = segment.row_file().slots();
    size_t row = 0;
    for (uint32_t slot : wanted) {
      size_t step = 1;
      while (row + step < slots.size() && slots[row + step] < slot) step *= 2;
      const auto end = slots.begin() + std::min(row + step + 1, slots.size());
      row = static_cast<size_t>(std::lower_bound(slots.begin() + row, end, slot) - slots.begin());
      if (row == slots.size()) break;
      if (slots[row] == slot) allow(static_cast<uint32_t>(row));
    }
  }
  mask_.words = words_.data();
  mask_.count = count_;
}

}  // namespace imagesearch::index
