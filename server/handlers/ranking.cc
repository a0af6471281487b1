#include "server/handlers/ranking.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/filter/field_path.h"
#include "index/keyword/words.h"
#include "index/rank/facets.h"
#include "server/grpc_status.h"
#include "server/handlers/convert.h"
#include "server/handlers/validate.h"

namespace imagesearch::server {
namespace {

constexpr int kDefaultLimit = 10;
constexpr int kMaxPerGroup = 100;
constexpr float kAutoCut = 0.7f;
constexpr int kMaxFields = 16;
constexpr float kMaxWeight = 100;
constexpr int kDefaultFacetValues = 10;
constexpr int kMaxFacetValues = 1000;

int LimitOf(const v1::SearchRequest& request) {
  return request.has_limit() ? request.limit() : kDefaultLimit;
}

absl::Status CheckGroupBy(const v1::SearchRequest& request, const Limits& limits) {
  const v1::GroupBy& group = request.group_by();
  absl::Status status = index::ParseFieldPath(group.field()).status();
  if (!status.ok()) return AtField(status, "group_by.field");
  if (group.limit() < 0 || group.limit() > kMaxPerGroup) {
    return AtField(InvalidArgument("BAD_LIMIT", absl::StrCat("must be 0 to ", kMaxPerGroup)),
                   "group_by.limit");
  }
  const int64_t hits = int64_t{LimitOf(request)} * std::max(group.limit(), 1);
  if (hits > static_cast<int64_t>(limits.max_limit)) {
    return AtField(
        InvalidArgument("BAD_LIMIT", absl::StrCat("limit times group_by.limit is ", hits,
                                                  ", at most ", limits.max_limit, " are answered")),
        "group_by.limit");
  }
  return absl::OkStatus();
}

absl::Status CheckKeywords(const v1::Keywords& keywords, const Limits& limits) {
  if (keywords.text().size() > limits.max_text_bytes ||
      index::WordsOf(keywords.text(), 1).empty()) {
    return AtField(InvalidArgument("BAD_KEYWORDS",
                                   absl::StrCat("needs a word, and at most ", limits.max_text_bytes,
                                                " bytes; it has ", keywords.text().size())),
                   "keywords.text");
  }
  if (keywords.has_weight() && !(keywords.weight() > 0 && keywords.weight() <= kMaxWeight)) {
    return AtField(
        InvalidArgument("BAD_WEIGHT", absl::StrCat("must be above 0, at most ", kMaxWeight)),
        "keywords.weight");
  }
  if (keywords.fields_size() > kMaxFields) {
    return AtField(InvalidArgument("TOO_MANY", absl::StrCat(keywords.fields_size(),
                                                            " given, the limit is ", kMaxFields)),
                   "keywords.fields");
  }
  for (int i = 0; i < keywords.fields_size(); ++i) {
    absl::Status status = index::ParseFieldPath(keywords.fields(i)).status();
    if (!status.ok()) return AtField(status, absl::StrCat("keywords.fields[", i, "]"));
  }
  return absl::OkStatus();
}

absl::Status CheckFacets(const v1::SearchRequest& request) {
  if (request.facets_size() > kMaxFields) {
    return AtField(InvalidArgument("TOO_MANY", absl::StrCat(request.facets_size(),
                                                            " given, the limit is ", kMaxFields)),
                   "facets");
  }
  for (int i = 0; i < request.facets_size(); ++i) {
    const v1::FacetRequest& facet = request.facets(i);
    const auto path = index::ParseFieldPath(facet.field());
    absl::Status status = path.status();
    if (path.ok() && path->is_id) {
      status = InvalidArgument("BAD_FIELD", "every image has an id of its own");
    }
    if (!status.ok()) return AtField(status, absl::StrCat("facets[", i, "].field"));
    if (facet.limit() < 0 || facet.limit() > kMaxFacetValues) {
      return AtField(InvalidArgument("BAD_LIMIT", absl::StrCat("must be 0 to ", kMaxFacetValues)),
                     absl::StrCat("facets[", i, "].limit"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckSearch(const v1::SearchRequest& request, const Limits& limits) {
  if (request.has_limit() &&
      (request.limit() < 1 || request.limit() > static_cast<int64_t>(limits.max_limit))) {
    return AtField(InvalidArgument("BAD_LIMIT", absl::StrCat("must be 1 to ", limits.max_limit)),
                   "limit");
  }
  if (request.offset() < 0 || request.offset() > static_cast<int64_t>(limits.max_offset)) {
    return AtField(InvalidArgument("BAD_OFFSET", absl::StrCat("must be 0 to ", limits.max_offset)),
                   "offset");
  }
  if (request.has_min_score() && !std::isfinite(request.min_score())) {
    return AtField(InvalidArgument("BAD_MIN_SCORE", "must be finite"), "min_score");
  }
  if (!(request.diversity() >= 0 && request.diversity() <= 1)) {
    return AtField(InvalidArgument("BAD_DIVERSITY", "must be 0 to 1"), "diversity");
  }
  if (!(request.min_relevance() >= 0 && request.min_relevance() <= 1)) {
    return AtField(InvalidArgument("BAD_RELEVANCE", "must be 0 to 1"), "min_relevance");
  }
  absl::Status tier = ToTier(request.collapse_duplicates()).status();
  if (!tier.ok()) return AtField(tier, "collapse_duplicates");
  absl::Status status = CheckFilter(request.filter(), limits);
  if (status.ok() && request.has_keywords()) status = CheckKeywords(request.keywords(), limits);
  if (status.ok()) status = CheckFacets(request);
  if (status.ok() && request.has_group_by()) status = CheckGroupBy(request, limits);
  return status;
}

index::RankedQuery ToRankedQuery(const v1::SearchRequest& request, QueryVector vector) {
  index::RankedQuery ranked;
  index::Query& query = ranked.query;
  query.vector = std::move(vector.values);
  query.kind = vector.kind;
  query.filter = request.filter();
  query.limit = LimitOf(request);
  query.offset = request.offset();
  if (request.has_min_score()) query.min_score = request.min_score();
  query.exact = request.exact();
  query.with_metadata = request.with_metadata();
  query.with_vector = request.with_vector();
  ranked.diversity = request.diversity();
  ranked.collapse = *ToTier(request.collapse_duplicates());
  ranked.relevance = request.with_relevance() || request.has_min_relevance() || request.auto_cut();
  ranked.min_relevance = request.has_min_relevance() ? request.min_relevance()
                         : request.auto_cut()        ? kAutoCut
                                                     : 0;
  if (request.has_keywords()) {
    index::Keywords& keywords = ranked.keywords.emplace();
    keywords.text = request.keywords().text();
    for (const std::string& field : request.keywords().fields()) {
      keywords.fields.push_back(*index::ParseFieldPath(field));
    }
    if (request.keywords().has_weight()) keywords.weight = request.keywords().weight();
  }
  if (request.has_group_by()) {
    ranked.group = {*index::ParseFieldPath(request.group_by().field()), request.group_by().field(),
                    std::max(request.group_by().limit(), 1)};
  }
  return ranked;
}

absl::Status FillFacets(index::Collection& collection, const v1::SearchRequest& request,
                        v1::SearchResponse* response) {
  for (const v1::FacetRequest& asked : request.facets()) {
    const int limit = asked.limit() == 0 ? kDefaultFacetValues : asked.limit();
    auto counts = index::CountValuesOf(collection, request.filter(),
                                       *index::ParseFieldPath(asked.field()), limit);
    if (!counts.ok()) return counts.status();
    v1::Facet* facet = response->add_facets();
    facet->set_field(asked.field());
    for (index::ValueCount& count : *counts) {
      v1::FacetCount* out = facet->add_values();
      *out->mutable_value() = std::move(count.value);
      out->set_count(count.count);
    }
  }
  return absl::OkStatus();
}

void FillSearchResponse(index::RankedResult result, const v1::SearchRequest& request,
                        v1::SearchResponse* response) {
  for (index::RankedHit& hit : result.hits) {
    v1::Hit* out = response->add_hits();
    out->set_id(std::move(hit.hit.id));
    out->set_score(hit.hit.score);
    if (request.with_metadata()) *out->mutable_metadata() = std::move(hit.hit.metadata);
    if (request.with_vector()) FillVector(hit.hit.vector, out->mutable_vector());
    if (hit.relevance) out->set_relevance(*hit.relevance);
    if (hit.keyword_score) out->set_keyword_score(*hit.keyword_score);
    for (index::DuplicateRef& folded : hit.duplicates) {
      FillDuplicate(std::move(folded), out->add_duplicates());
    }
    if (hit.group) *out->mutable_group() = *std::move(hit.group);
  }
  response->set_version(result.version);
}

}  // namespace imagesearch::server
