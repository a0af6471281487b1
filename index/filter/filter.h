// Filter language over metadata, AIP-160 style: `album = "holiday" AND year >= 2020 AND NOT
// tags:"cat"`. Text -> expression tree -> answer for one record, or a bitmap over many
// (field_index.h).
#ifndef IMAGESEARCH_INDEX_FILTER_FILTER_H_
#define IMAGESEARCH_INDEX_FILTER_FILTER_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/limits.h"
#include "google/protobuf/struct.pb.h"

namespace imagesearch::index {

struct FilterNode;  // index/filter/expression.h

// Immutable, cheap to copy, thread-safe.
class Filter {
 public:
  // INVALID_ARGUMENT BAD_FILTER with the column (1-based, in bytes) of the mistake and what was
  // expected there. The empty text matches everything.
  static absl::StatusOr<Filter> Parse(absl::string_view text, const Limits& limits);

  bool matches_all() const { return root_ == nullptr; }
  // Evaluates on one record. A comparison with a missing field or another type is false; NOT of it
  // is true.
  bool Matches(absl::string_view id, const google::protobuf::Struct& metadata) const;
  const FilterNode* root() const { return root_.get(); }

 private:
  std::shared_ptr<const FilterNode> root_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_FILTER_FILTER_H_
