// Searches whose answer is more than the nearest neighbours in order: judged, fused with
// words of the metadata, grouped, diverse. Works over
// every index::Collection.
#ifndef IMAGESEARCH_INDEX_RANK_RANKED_SEARCH_H_
#define IMAGESEARCH_INDEX_RANK_RANKED_SEARCH_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "index/collection.h"
#include "index/rank/fusion.h"
#include "index/rank/group.h"
#include "index/rank/rank_pass.h"
#include "index/rank/relevance.h"

namespace imagesearch::index {

struct RankedQuery {
  // The vector has length 1. With `group`, limit and offset count groups.
  Query query;
  std::optional<GroupBy> group;
  float diversity = 0;  // [0, 1]
  // Folds duplicates up to this tier under their best hit (index/rank/collapse.h). Hits that only
  // keywords found have no hashes to be compared by.
  DuplicateTier collapse = DuplicateTier::kNone;
  std::optional<Keywords> keywords;
  // Hits get their relevance (index/rank/relevance.h), and those below `min_relevance` are left
  // out; > 0 only with relevance.
  bool relevance = false;
  float min_relevance = 0;

  // Whether hits stand in the order of their scores.
  bool by_score() const {
    return !group && diversity == 0 && !keywords && collapse == DuplicateTier::kNone;
  }
  // Whether Collection::Search alone answers it.
  bool plain() const { return by_score() && !relevance; }
};

struct RankedResult {
  std::vector<RankedHit> hits;  // in the order of the answer; hits of a group follow one another
  uint64_t version = 0;
};

// Errors are those of Collection::Search. Looks at the nearest images first and then deeper, four
// times as deep each time, until the page is full, the collection is exhausted or kMaxDepth images
// were looked at. Groups are exact beyond that: those not met yet are searched for by a filter
// that leaves out the ones met, and one that is short of hits by a filter for itself, as long as
// those filters stay within the limits of filters. Words are fused first, then the passes run:
// relevance, collapse, diversity, groups.
//
// Pages: the answer is one list, of which offset and limit cut a part; it does not depend on them,
// so pages neither overlap nor leave gaps while nothing is written.
inline constexpr int kMaxDepth = 16'384;
absl::StatusOr<RankedResult> SearchRanked(Collection& collection, Backgrounds& backgrounds,
                                          const RankedQuery& query);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_RANK_RANKED_SEARCH_H_
