#include "server/handlers/ranking.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/filter/field_path.h"
#include "server/grpc_status.h"
#include "server/handlers/convert.h"
#include "server/handlers/validate.h"

namespace imagesearch::server {
namespace {

constexpr int kDefaultLimit = 10;
constexpr int kMaxPerGroup = 100;

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
  absl::Status status = CheckFilter(request.filter(), limits);
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
  if (request.has_group_by()) {
    ranked.group = {*index::ParseFieldPath(request.group_by().field()), request.group_by().field(),
                    std::max(request.group_by().limit(), 1)};
  }
  return ranked;
}

void FillSearchResponse(index::RankedResult result, const v1::SearchRequest& request,
                        v1::SearchResponse* response) {
  for (index::RankedHit& hit : result.hits) {
    v1::Hit* out = response->add_hits();
    out->set_id(std::move(hit.hit.id));
    out->set_score(hit.hit.score);
    if (request.with_metadata()) *out->mutable_metadata() = std::move(hit.hit.metadata);
    if (request.with_vector()) FillVector(hit.hit.vector, out->mutable_vector());
    if (hit.group) *out->mutable_group() = *std::move(hit.group);
  }
  response->set_version(result.version);
}

}  // namespace imagesearch::server
