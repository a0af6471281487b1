// Our filter language -> Milvus' boolean expressions over the columns of row.h.
#ifndef IMAGESEARCH_INDEX_MILVUS_EXPRESSION_H_
#define IMAGESEARCH_INDEX_MILVUS_EXPRESSION_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "index/filter/filter.h"

namespace imagesearch::index {

// A text as a literal of an expression. Any UTF-8 will do.
std::string Quoted(absl::string_view text);

// `id in [...]`; at least one id.
std::string IdIn(absl::Span<const std::string> ids);

// An expression that is true for exactly the images that the filter matches; "" where it matches
// all. UNIMPLEMENTED NOT_ON_MILVUS names the part that can't be said.
absl::StatusOr<std::string> Translate(const Filter& filter);

// `a and b`; either may be empty.
std::string And(absl::string_view a, absl::string_view b);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_MILVUS_EXPRESSION_H_
