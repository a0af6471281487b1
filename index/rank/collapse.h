// One hit for each picture: duplicates of a better hit are folded under it.
#ifndef IMAGESEARCH_INDEX_RANK_COLLAPSE_H_
#define IMAGESEARCH_INDEX_RANK_COLLAPSE_H_

#include "index/duplicates.h"
#include "index/rank/rank_pass.h"

namespace imagesearch::index {

// Goes down the list; a hit that is a duplicate, up to `tier`, of one that stays becomes an entry
// of that one's `duplicates` (at most kMaxFolded of them are named), with its own score for the
// query. So each folded hit is a duplicate of the hit that it stands under, and the best of them is
// the one that stays. A look-alike is looked for among the kCompared best that stay.
class CollapsePass : public RankPass {
 public:
  static constexpr size_t kMaxFolded = 100;
  static constexpr size_t kCompared = 1000;

  explicit CollapsePass(DuplicateTier tier) : tier_(tier) {}

  bool needs_vector() const override { return tier_ >= DuplicateTier::kSamePicture; }
  bool needs_identity() const override { return true; }
  absl::Status Run(Ranking* ranking) override;

 private:
  const DuplicateTier tier_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_RANK_COLLAPSE_H_
