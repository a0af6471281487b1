#include "index/store/view.h"

#include <algorithm>

namespace imagesearch::index {

std::optional<RowRef> View::Find(uint32_t slot) const {
  auto segment = std::upper_bound(
      segments.begin(), segments.end(), slot,
      [](uint32_t s, const SegmentPart& part) { return s < part.segment->end_slot(); });
  if (segment != segments.end() && slot >= segment->segment->first_slot()) {
    std::optional<uint32_t> row = segment->segment->RowOfSlot(slot);
    if (!row) return std::nullopt;
    return RowRef{segment->segment->vector(*row), segment->segment->id(*row),
                  segment->IsAlive(*row)};
  }
  auto part = std::upper_bound(tail.begin(), tail.end(), slot,
                               [](uint32_t s, const TailPart& p) { return s < p.chunk->slots[0]; });
  if (part == tail.begin()) return std::nullopt;
  --part;
  const uint32_t* begin = part->chunk->slots.data();
  const uint32_t* end = begin + part->rows;
  const uint32_t* at = std::lower_bound(begin, end, slot);
  if (at == end || *at != slot) return std::nullopt;
  const auto row = static_cast<uint32_t>(at - begin);
  return RowRef{part->chunk->vector(row), part->chunk->ids[row], part->IsAlive(row)};
}

uint64_t View::tail_rows() const {
  uint64_t rows = 0;
  for (const TailPart& part : tail) rows += part.rows;
  return rows;
}

}  // namespace imagesearch::index
