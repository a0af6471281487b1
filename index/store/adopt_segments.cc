// How a reader takes over segments that the writer has built.
#include <algorithm>
#include <utility>

#include "index/store/collection_state.h"

namespace imagesearch::index {
namespace {

// The rows of `segment` that are in `live`.
SegmentPart PartOf(const std::shared_ptr<const Segment>& segment, const Bitmap& live) {
  SegmentPart part{segment, nullptr, 0};
  auto alive = std::make_shared<std::vector<uint64_t>>((segment->rows() + 63) / 64);
  for (uint32_t row = 0; row < segment->rows(); ++row) {
    if (!live.contains(segment->slot(row))) continue;
    (*alive)[row >> 6] |= uint64_t{1} << (row & 63);
    ++part.live;
  }
  if (part.live < segment->rows()) part.alive = std::move(alive);
  return part;
}

}  // namespace

bool CollectionState::AdoptSegments(const std::vector<std::shared_ptr<const Segment>>& segments) {
  if (segments.empty()) return false;
  const uint32_t end = segments.back()->end_slot();
  MutexLock lock(&apply_mutex_);
  const std::shared_ptr<const View> old = view();
  Bitmap live;  // slots below `end`
  for (const SegmentPart& part : old->segments) {
    if (part.segment->end_slot() > end) return false;
    for (uint32_t row = 0; row < part.segment->rows(); ++row) {
      if (part.IsAlive(row)) live.add(part.segment->slot(row));
    }
  }
  for (const TailPart& part : old->tail) {
    for (uint32_t row = 0; row < part.rows; ++row) {
      if (part.IsAlive(row) && part.chunk->slots[row] < end) live.add(part.chunk->slots[row]);
    }
  }
  auto next = std::make_shared<View>();
  next->version = old->version;
  next->snapshot = old->snapshot;
  next->live = old->live;
  uint64_t held = 0;
  for (const std::shared_ptr<const Segment>& segment : segments) {
    SegmentPart part = PartOf(segment, live);
    held += part.live;
    if (part.live > 0) next->segments.push_back(std::move(part));
  }
  if (held != live.cardinality()) return false;
  // A chunk that `end` falls into keeps its rows; those below are dead in it.
  for (const TailPart& old_part : old->tail) {
    if (old_part.rows == 0 || old_part.chunk->slots[old_part.rows - 1] < end) continue;
    TailPart part = old_part;
    for (uint32_t row = 0; row < part.rows && part.chunk->slots[row] < end; ++row) {
      part.alive[row >> 6] &= ~(uint64_t{1} << (row & 63));
    }
    next->tail.push_back(std::move(part));
  }
  Publish(std::move(next));
  return true;
}

}  // namespace imagesearch::index
