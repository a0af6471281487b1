#include "index/rank/ranked_search.h"

#include <algorithm>
#include <iterator>
#include <memory>
#include <string>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "index/rank/collapse.h"
#include "index/rank/diversity.h"
#include "index/rank/relevance.h"

namespace imagesearch::index {
namespace {

constexpr int kFirstDepth = 64;
constexpr int kDeeper = 4;

class RankedSearch {
 public:
  RankedSearch(Collection& collection, Backgrounds& backgrounds, const RankedQuery& ranked)
      : collection_(collection), backgrounds_(backgrounds), ranked_(ranked) {
    if (ranked.collapse != DuplicateTier::kNone) {
      passes_.push_back(std::make_unique<CollapsePass>(ranked.collapse));
    }
    if (ranked.diversity > 0) passes_.push_back(std::make_unique<DiversityPass>(ranked.diversity));
    wanted_ = static_cast<size_t>(ranked.query.offset) + ranked.query.limit;
    size_t depth = std::max<size_t>(2 * wanted_, kFirstDepth);
    for (const auto& pass : passes_) {
      depth = std::max(depth, pass->min_depth());
      needs_metadata_ |= pass->needs_metadata();
      needs_vector_ |= pass->needs_vector();
      needs_identity_ |= pass->needs_identity();
    }
    needs_metadata_ |= ranked.group.has_value();
    depth_ = static_cast<int>(std::min<size_t>(depth, kMaxDepth));
  }

  absl::StatusOr<RankedResult> Run() {
    absl::Status status;
    if (ranked_.by_score()) {
      status = RunByScore();
    } else {
      status = ranked_.group ? RunGrouped() : RunFlat();
      if (status.ok()) status = Complete();
    }
    if (!status.ok()) return status;
    return std::move(result_);
  }

 private:
  // The `depth` nearest that match `filter`, through the passes.
  absl::StatusOr<Ranking> Fetch(const std::string& filter, int depth) {
    Query query = ranked_.query;
    query.filter = filter;
    query.offset = 0;
    query.limit = ranked_.keywords ? std::max(depth, kWindow) : depth;
    query.with_metadata = needs_metadata_;
    query.with_vector = needs_vector_;
    query.with_identity = needs_identity_;
    auto found = collection_.Search(query);
    if (!found.ok()) return found.status();
    Ranking ranking;
    ranking.complete = found->hits.size() < static_cast<size_t>(query.limit);
    absl::Status status = Judge(*found, &ranking);
    if (!status.ok()) return status;
    if (ranked_.keywords) {
      status = FuseKeywords(collection_, query, *ranked_.keywords, &ranking);
      if (!status.ok()) return status;
    }
    if (relevance_) {
      status = relevance_->Run(&ranking);
      if (!status.ok()) return status;
    }
    for (const auto& pass : passes_) {
      status = pass->Run(&ranking);
      if (!status.ok()) return status;
    }
    return ranking;
  }

  // Takes the hits over, and makes ready to tell their relevance.
  absl::Status Judge(SearchResult& found, Ranking* ranking) {
    result_.version = std::max(result_.version, found.version);
    for (Hit& hit : found.hits) {
      const double order = hit.score;
      ranking->hits.push_back({std::move(hit), order});
    }
    if (!ranked_.relevance || relevance_) return absl::OkStatus();
    auto background = backgrounds_.Get(collection_, found.version);
    if (!background.ok()) return background.status();
    std::optional<BackgroundTail> tail;
    if ((*background)->usable()) tail = (*background)->TailFor(ranked_.query.vector);
    relevance_.emplace(tail, ranked_.min_relevance);
    return absl::OkStatus();
  }

  // The collection's own answer, with relevance: what is cut off is its end.
  absl::Status RunByScore() {
    auto found = collection_.Search(ranked_.query);
    if (!found.ok()) return found.status();
    Ranking ranking;
    absl::Status status = Judge(*found, &ranking);
    if (status.ok() && relevance_) status = relevance_->Run(&ranking);
    result_.hits = std::move(ranking.hits);
    return status;
  }

  absl::Status RunFlat() {
    while (true) {
      auto ranking = Fetch(ranked_.query.filter, depth_);
      if (!ranking.ok()) return ranking.status();
      std::vector<RankedHit>& hits = ranking->hits;
      if (hits.size() < wanted_ && !ranking->complete && depth_ < kMaxDepth) {
        depth_ = std::min(depth_ * kDeeper, kMaxDepth);
        continue;
      }
      const size_t begin = std::min<size_t>(ranked_.query.offset, hits.size());
      const size_t end = std::min(wanted_, hits.size());
      result_.hits.assign(std::make_move_iterator(hits.begin() + begin),
                          std::make_move_iterator(hits.begin() + end));
      return absl::OkStatus();
    }
  }

  absl::Status RunGrouped() {
    Grouper grouper(*ranked_.group);
    std::string filter = ranked_.query.filter;
    bool derived = false;  // `filter` leaves out the groups that were met
    bool complete = false;
    while (true) {
      auto ranking = Fetch(filter, depth_);
      if (!ranking.ok()) {
        // The derived filter is longer than a filter may be: no more groups than so.
        if (derived && absl::IsInvalidArgument(ranking.status())) break;
        return ranking.status();
      }
      complete = ranking->complete && !derived;
      const bool exhausted = ranking->complete;
      const size_t before = grouper.groups().size();
      grouper.Add(std::move(ranking->hits));
      if (grouper.groups().size() >= wanted_ || exhausted) break;
      if (depth_ < kMaxDepth && !derived) {
        depth_ = std::min(depth_ * kDeeper, kMaxDepth);
        grouper.Clear();
        continue;
      }
      if (derived && grouper.groups().size() == before) break;
      filter = grouper.FilterOfOthers(ranked_.query.filter);
      derived = true;
    }
    const size_t begin = std::min<size_t>(ranked_.query.offset, grouper.groups().size());
    const size_t end = std::min(wanted_, grouper.groups().size());
    for (size_t i = begin; i < end; ++i) {
      if (!complete && !grouper.IsFull(grouper.groups()[i])) {
        absl::Status status = Fill(i, &grouper);
        if (!status.ok()) return status;
      }
      std::vector<RankedHit>& hits = grouper.groups()[i].hits;
      std::move(hits.begin(), hits.end(), std::back_inserter(result_.hits));
    }
    return absl::OkStatus();
  }

  // The hits of one group, by a search for it alone.
  absl::Status Fill(size_t i, Grouper* grouper) {
    auto ranking = Fetch(grouper->FilterOf(ranked_.query.filter, grouper->groups()[i]),
                         std::max(ranked_.group->limit, 1));
    if (absl::IsInvalidArgument(ranking.status())) return absl::OkStatus();  // filter too long
    if (!ranking.ok()) return ranking.status();
    grouper->Refill(i, std::move(ranking->hits));
    return absl::OkStatus();
  }

  // Reads what the caller asked for and no pass needed, for the page alone.
  absl::Status Complete() {
    const bool metadata = ranked_.query.with_metadata && !needs_metadata_;
    const bool vector = ranked_.query.with_vector && !needs_vector_;
    if (!metadata && !vector) return absl::OkStatus();
    std::vector<std::string> ids;
    for (const RankedHit& hit : result_.hits) ids.push_back(hit.hit.id);
    auto records = collection_.Get(ids, vector);
    if (!records.ok()) return records.status();
    std::vector<RankedHit> kept;
    for (size_t i = 0; i < ids.size(); ++i) {
      if (!(*records)[i]) continue;  // deleted meanwhile
      RankedHit& hit = result_.hits[i];
      if (metadata) hit.hit.metadata = std::move((*records)[i]->metadata);
      if (vector) hit.hit.vector = std::move((*records)[i]->vector);
      kept.push_back(std::move(hit));
    }
    result_.hits = std::move(kept);
    return absl::OkStatus();
  }

  Collection& collection_;
  Backgrounds& backgrounds_;
  const RankedQuery& ranked_;
  std::optional<RelevancePass> relevance_;
  std::vector<std::unique_ptr<RankPass>> passes_;
  size_t wanted_ = 0;  // hits or groups from the start of the list
  bool needs_metadata_ = false;
  bool needs_vector_ = false;
  bool needs_identity_ = false;
  int depth_ = 0;
  RankedResult result_;
};

}  // namespace

absl::StatusOr<RankedResult> SearchRanked(Collection& collection, Backgrounds& backgrounds,
                                          const RankedQuery& query) {
  return RankedSearch(collection, backgrounds, query).Run();
}

}  // namespace imagesearch::index
