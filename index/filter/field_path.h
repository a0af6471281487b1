// The name of a metadata field by itself, outside a filter.
#ifndef IMAGESEARCH_INDEX_FILTER_FIELD_PATH_H_
#define IMAGESEARCH_INDEX_FILTER_FIELD_PATH_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "index/filter/expression.h"

namespace imagesearch::index {

// As filters write it: album, camera.model, `shot by`, id. At most 256 bytes. INVALID_ARGUMENT
// BAD_FIELD.
absl::StatusOr<FieldPath> ParseFieldPath(absl::string_view text);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_FILTER_FIELD_PATH_H_
