// What happens to nearest neighbours before they become an answer: passes over a ranked list, each
// of which annotates, drops or reorders hits. New kinds of post-processing are added as a pass.
#ifndef IMAGESEARCH_INDEX_RANK_RANK_PASS_H_
#define IMAGESEARCH_INDEX_RANK_RANK_PASS_H_

#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "google/protobuf/struct.pb.h"
#include "index/collection.h"
#include "index/duplicates.h"

namespace imagesearch::index {

// One image on its way through the passes. `hit.metadata` and `hit.vector` are there when a pass
// says that it needs them, or the caller asked for them.
struct RankedHit {
  Hit hit;
  // What the list is ordered by, highest first: the cosine, until a pass orders it otherwise.
  double order = 0;
  std::optional<float> relevance = std::nullopt;
  std::optional<float> keyword_score = std::nullopt;
  std::optional<google::protobuf::Value> group = std::nullopt;  // the value it is grouped by
  std::vector<DuplicateRef> duplicates = {};                    // hits folded under it, best first
};

struct Ranking {
  std::vector<RankedHit> hits;  // best first; equal ones by id
  // No image that is not in `hits` can become part of the answer.
  bool complete = false;
};

// Belongs to one search; used by one thread. A search that looks deeper runs its passes again, over
// the longer list: a pass keeps nothing from run to run.
class RankPass {
 public:
  virtual ~RankPass() = default;
  virtual bool needs_metadata() const { return false; }
  virtual bool needs_vector() const { return false; }
  // The hits' content_hash and perceptual_hash.
  virtual bool needs_identity() const { return false; }
  // How many nearest images it wants to see at least, whatever the page; 0: no wish.
  virtual size_t min_depth() const { return 0; }
  virtual absl::Status Run(Ranking* ranking) = 0;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_RANK_RANK_PASS_H_
