// Tokens -> expression tree.
#ifndef IMAGESEARCH_INDEX_FILTER_PARSER_H_
#define IMAGESEARCH_INDEX_FILTER_PARSER_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/limits.h"
#include "index/filter/expression.h"

namespace imagesearch::index {

// `text` holds more than blanks. Errors and limits: see Filter::Parse. Keeps its own stack: the
// depth of the text never becomes depth of calls.
absl::StatusOr<FilterNode> ParseFilter(absl::string_view text, const Limits& limits);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_FILTER_PARSER_H_
