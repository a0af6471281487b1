#include "index/filter/field_path.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/filter/parser.h"

namespace imagesearch::index {

absl::StatusOr<FieldPath> ParseFieldPath(absl::string_view text) {
  constexpr size_t kMaxBytes = 256;
  if (text.empty() || text.size() > kMaxBytes) {
    return InvalidArgument("BAD_FIELD", absl::StrCat("the name of the field has ", text.size(),
                                                     " bytes; 1 to ", kMaxBytes, " are allowed"));
  }
  const absl::StatusOr<FilterNode> node = ParseFilter(absl::StrCat("has(", text, ")"), Limits());
  if (!node.ok() || node->op != FilterOp::kPresent) {
    return InvalidArgument("BAD_FIELD",
                           "not the name of a field: write it as a filter does, for example album, "
                           "camera.model or `shot by`");
  }
  return node->field;
}

}  // namespace imagesearch::index
