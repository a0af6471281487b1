// What collections and aliases may look like, whichever database keeps them.
#ifndef IMAGESEARCH_INDEX_CHECK_COLLECTION_H_
#define IMAGESEARCH_INDEX_CHECK_COLLECTION_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/limits.h"
#include "index/collection.h"

namespace imagesearch::index {

// INVALID_ARGUMENT BAD_INDEX unless `value` is 0 or within the bounds, which are allowed too.
absl::Status CheckRange(absl::string_view field, double value, double low, double high);

// INVALID_ARGUMENT BAD_NAME; `what` has the name, as in "a collection".
absl::Status CheckName(const std::string& name, absl::string_view what);

// INVALID_ARGUMENT BAD_NAME, BAD_DIMENSION or BAD_INDEX.
absl::Status CheckCollection(const CollectionOptions& options, const Limits& limits);

// `pq_bytes`, or the next smaller number that `dimension` allows.
int FittingPqSize(int pq_bytes, int dimension);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_CHECK_COLLECTION_H_
