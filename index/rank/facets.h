// How many images have each value of a metadata field.
#ifndef IMAGESEARCH_INDEX_RANK_FACETS_H_
#define IMAGESEARCH_INDEX_RANK_FACETS_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "index/collection.h"

namespace imagesearch::index {

// Collection::CountValues, or, where the engine has no such index, the same counts by reading every
// image that matches (then at most kMostListedValues distinct values are told apart; later ones are
// left out).
inline constexpr size_t kMostListedValues = 100'000;
absl::StatusOr<std::vector<ValueCount>> CountValuesOf(Collection& collection,
                                                      const std::string& filter,
                                                      const FieldPath& field, size_t limit);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_RANK_FACETS_H_
