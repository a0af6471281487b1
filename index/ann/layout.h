// Which stored row lies at which position. Codes, lists and graph links speak of positions (rows of
// one list lie together); queries, masks and full-precision vectors speak of rows.
#ifndef IMAGESEARCH_INDEX_ANN_LAYOUT_H_
#define IMAGESEARCH_INDEX_ANN_LAYOUT_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "absl/types/span.h"

namespace imagesearch::index {

// A permutation and its inverse; default: the identity, which takes no memory. Thread-safe once
// made.
class Layout {
 public:
  Layout() = default;
  // `order[position]` = row; a permutation of 0..n-1.
  explicit Layout(std::vector<uint32_t> order) : order_(std::move(order)) {
    positions_.resize(order_.size());
    for (uint32_t i = 0; i < order_.size(); ++i) positions_[order_[i]] = i;
  }

  uint32_t RowAt(uint32_t position) const { return order_.empty() ? position : order_[position]; }
  uint32_t PositionOf(uint32_t row) const { return positions_.empty() ? row : positions_[row]; }
  absl::Span<const uint32_t> order() const { return order_; }
  // The rows in order of position, without the way back.
  std::vector<uint32_t> TakeOrder() && { return std::move(order_); }
  uint64_t memory_bytes() const { return (order_.size() + positions_.size()) * sizeof(uint32_t); }

 private:
  std::vector<uint32_t> order_;
  std::vector<uint32_t> positions_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_LAYOUT_H_
