// What a search reads: one immutable state of a collection. A writer makes the next one and swaps
// it in, so that searches take no lock and see one version.
#ifndef IMAGESEARCH_INDEX_STORE_VIEW_H_
#define IMAGESEARCH_INDEX_STORE_VIEW_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "index/ann/list_guide.h"
#include "index/ann/tail_codes.h"
#include "index/store/rocks_store.h"
#include "index/store/segment.h"

namespace imagesearch::index {

// Rows that were written after the newest segment was built: append-only, in memory. Rows
// below a view's `rows` never change, so readers share a chunk with the writer that fills it.
struct TailChunk {
  static constexpr uint32_t kRows = 128;
  TailChunk(int dimension, std::shared_ptr<const ListGuide> guide)
      : dimension(dimension),
        guide(std::move(guide)),
        vectors(new float[size_t{kRows} * dimension]),
        codes(dimension, kRows) {}

  const float* vector(uint32_t row) const { return vectors.get() + size_t{row} * dimension; }

  const int dimension;
  // Of the largest segment when the chunk was begun; null: it had none. It outlives the segment.
  const std::shared_ptr<const ListGuide> guide;
  const std::unique_ptr<float[]> vectors;  // (kRows, dimension) row-major, length 1
  TailCodes codes;                         // of the same rows
  std::array<uint32_t, kRows> slots{};     // ascending
  std::array<uint32_t, kRows> lists{};     // of the guide
  std::array<std::string, kRows> ids;
};

struct TailPart {
  std::shared_ptr<const TailChunk> chunk;
  uint32_t rows = 0;
  std::array<uint64_t, TailChunk::kRows / 64> alive{};  // bit per row

  bool IsAlive(uint32_t row) const { return alive[row >> 6] >> (row & 63) & 1; }
};

struct SegmentPart {
  std::shared_ptr<const Segment> segment;
  std::shared_ptr<const std::vector<uint64_t>> alive;  // bit per row; null: all rows live
  uint32_t live = 0;

  bool IsAlive(uint32_t row) const {
    return alive == nullptr || ((*alive)[row >> 6] >> (row & 63) & 1);
  }
};

// One stored vector as a view sees it. Valid while the view is held.
struct RowRef {
  const float* vector = nullptr;
  absl::string_view id;
  bool alive = false;
};

struct View {
  uint64_t version = 0;
  std::vector<SegmentPart> segments;  // by slot, without overlap
  std::vector<TailPart> tail;         // by slot, all above the segments
  uint64_t live = 0;
  StoreSnapshot snapshot;  // the records that belong to this state

  // Nullopt when the slot is in no part.
  std::optional<RowRef> Find(uint32_t slot) const;
  uint64_t tail_rows() const;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_VIEW_H_
