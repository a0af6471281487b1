#include "index/rank/fusion.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "base/error.h"
#include "index/rank/inner_product.h"

namespace imagesearch::index {
namespace {

constexpr double kRankOffset = 60;  // of the paper

// Appends the images of `ids`, with their cosines; those that are gone stay out.
absl::Status AddUnseen(Collection& collection, const Query& query,
                       const std::vector<std::string>& ids, std::vector<RankedHit>* hits) {
  if (ids.empty()) return absl::OkStatus();
  auto records = collection.Get(ids, /*with_vector=*/true);
  if (!records.ok()) return records.status();
  for (std::optional<Record>& record : *records) {
    if (!record) continue;
    const float score =
        std::clamp(InnerProduct(query.vector.data(), record->vector.data(), record->vector.size()),
                   -1.0f, 1.0f);
    if (query.min_score && score < *query.min_score) continue;
    RankedHit hit;
    hit.hit.id = std::move(record->id);
    hit.hit.score = score;
    if (query.with_metadata) hit.hit.metadata = std::move(record->metadata);
    if (query.with_vector) hit.hit.vector = std::move(record->vector);
    if (query.with_identity) {
      hit.hit.content_hash = std::move(record->content_hash);
      hit.hit.perceptual_hash = record->perceptual_hash;
    }
    hits->push_back(std::move(hit));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status FuseKeywords(Collection& collection, const Query& query, const Keywords& keywords,
                          Ranking* ranking) {
  KeywordQuery asked;
  asked.text = keywords.text;
  asked.fields = keywords.fields;
  asked.filter = query.filter;
  asked.limit = kWindow;
  auto found = collection.SearchKeywords(asked);
  if (absl::IsUnimplemented(found.status())) {
    return Error(absl::StatusCode::kUnimplemented, "NO_KEYWORDS",
                 "the engine of this server has no keyword search");
  }
  if (!found.ok()) return found.status();

  std::vector<RankedHit>& hits = ranking->hits;
  absl::flat_hash_map<std::string, size_t> places;
  for (size_t i = 0; i < hits.size(); ++i) {
    hits[i].order = 1 / (kRankOffset + 1 + static_cast<double>(i));
    places[hits[i].hit.id] = i;
  }
  std::vector<std::string> unseen;
  for (const KeywordHit& match : found->hits) {
    if (!places.contains(match.id)) unseen.push_back(match.id);
  }
  const size_t nearest = hits.size();
  absl::Status status = AddUnseen(collection, query, unseen, &hits);
  if (!status.ok()) return status;
  for (size_t i = nearest; i < hits.size(); ++i) places[hits[i].hit.id] = i;
  for (size_t i = 0; i < found->hits.size(); ++i) {
    const auto place = places.find(found->hits[i].id);
    if (place == places.end()) continue;
    RankedHit& hit = hits[place->second];
    hit.keyword_score = found->hits[i].score;
    hit.order += keywords.weight / (kRankOffset + 1 + static_cast<double>(i));
  }
  std::sort(hits.begin(), hits.end(), [](const RankedHit& a, const RankedHit& b) {
    return a.order != b.order ? a.order > b.order : a.hit.id < b.hit.id;
  });
  ranking->complete = true;
  return absl::OkStatus();
}

}  // namespace imagesearch::index
