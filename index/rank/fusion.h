// One ranking out of two: nearest vectors, and words in the metadata.
#ifndef IMAGESEARCH_INDEX_RANK_FUSION_H_
#define IMAGESEARCH_INDEX_RANK_FUSION_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "index/collection.h"
#include "index/rank/rank_pass.h"

namespace imagesearch::index {

struct Keywords {
  std::string text;
  std::vector<FieldPath> fields;  // empty: every string field
  float weight = 1;               // > 0
};

// Adds the images whose metadata have the words to the nearest ones of `query`, and orders all by
// reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009):
//
//   1 / (60 + rank by cosine) + weight / (60 + rank by words)
//
// where an image that is not in one of the lists gets nothing for it. Ranks start at 1. Both lists
// are the kWindow best, whatever the page; the answer is a part of their union. An image that only
// its words brought gets its cosine too, and is left out when that is below query.min_score.
// Errors: UNIMPLEMENTED NO_KEYWORDS where the engine has no keyword search.
inline constexpr int kWindow = 1000;
absl::Status FuseKeywords(Collection& collection, const Query& query, const Keywords& keywords,
                          Ranking* ranking);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_RANK_FUSION_H_
