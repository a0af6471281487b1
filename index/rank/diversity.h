// Results that differ from each other: maximal marginal relevance (Carbonell and Goldstein 1998,
// "The use of MMR, diversity-based reranking for reordering documents and producing summaries").
#ifndef IMAGESEARCH_INDEX_RANK_DIVERSITY_H_
#define IMAGESEARCH_INDEX_RANK_DIVERSITY_H_

#include "index/rank/rank_pass.h"

namespace imagesearch::index {

// Reorders the kPool best hits; those behind them keep their places. The best hit stays first, then
// comes always the one with the largest
//
//   (1 - diversity) * r - diversity * max over the chosen of s
//
// r: the hit's order value, scaled to [0, 1] over the pool. s: cosine of the two images, scaled so
// that 1 is 1 and the image of the pool that is least like the best hit has 0 to it. (Without the
// scaling a text's low cosines would count for nothing beside those between images.) Ties: the
// better hit. The pool does not depend on the page, so pages fit together.
class DiversityPass : public RankPass {
 public:
  static constexpr size_t kPool = 256;

  // `diversity` in [0, 1]; 0 changes nothing.
  explicit DiversityPass(float diversity) : diversity_(diversity) {}

  bool needs_vector() const override { return true; }
  size_t min_depth() const override { return kPool; }
  absl::Status Run(Ranking* ranking) override;

 private:
  const float diversity_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_RANK_DIVERSITY_H_
