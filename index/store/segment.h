// One immutable piece of a collection: the vectors of a range of slots in a mapped file, and the
// nearest-neighbour index over them. A segment is a function of the store and the range: it can be
// built again at any time, so its files are a cache of the truth.
#ifndef IMAGESEARCH_INDEX_STORE_SEGMENT_H_
#define IMAGESEARCH_INDEX_STORE_SEGMENT_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "index/ann/ann_index.h"
#include "index/store/row_file.h"

namespace imagesearch::index {

// Immutable and thread-safe. Rows are ordered by slot.
class Segment {
 public:
  Segment(std::shared_ptr<const RowFile> rows, std::unique_ptr<const AnnIndex> index,
          IndexKind requested, std::string name)
      : rows_(std::move(rows)),
        index_(std::move(index)),
        requested_(requested),
        name_(std::move(name)) {}

  // The slots it stands for: [first_slot, end_slot). Slots in between without a row were dead when
  // it was built.
  uint32_t first_slot() const { return rows_->first_slot(); }
  uint32_t end_slot() const { return rows_->end_slot(); }
  uint32_t rows() const { return rows_->rows(); }
  uint32_t slot(uint32_t row) const { return rows_->slots()[row]; }
  absl::string_view id(uint32_t row) const { return rows_->id(row); }
  const float* vector(uint32_t row) const { return rows_->Row(row); }
  std::optional<uint32_t> RowOfSlot(uint32_t slot) const { return rows_->RowOfSlot(slot); }

  const AnnIndex& index() const { return *index_; }
  // What the index was built as; index().kind() tells what AUTO became.
  IndexKind requested() const { return requested_; }
  const RowFile& row_file() const { return *rows_; }
  // Its files are NAME.rows and NAME.ann in the collection's folder.
  const std::string& name() const { return name_; }

 private:
  const std::shared_ptr<const RowFile> rows_;
  const std::unique_ptr<const AnnIndex> index_;
  const IndexKind requested_;
  const std::string name_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_SEGMENT_H_
