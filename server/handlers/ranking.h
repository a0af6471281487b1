// The search request's wishes about the answer as a whole (relevance, keywords,
// groups, diversity, facets), and the answer.
#ifndef IMAGESEARCH_SERVER_HANDLERS_RANKING_H_
#define IMAGESEARCH_SERVER_HANDLERS_RANKING_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/limits.h"
#include "imagesearch/v1/imagesearch.pb.h"
#include "index/rank/ranked_search.h"
#include "server/handlers/query.h"

namespace imagesearch::server {

// Everything that can be said of the request but for its query. Errors name the field: BAD_LIMIT,
// BAD_OFFSET, BAD_MIN_SCORE, BAD_FILTER, FILTER_TOO_LONG, BAD_FIELD, BAD_DIVERSITY,
// BAD_RELEVANCE, BAD_KEYWORDS, TOO_MANY.
absl::Status CheckSearch(const v1::SearchRequest& request, const Limits& limits);

// Of a request that passed CheckSearch.
index::RankedQuery ToRankedQuery(const v1::SearchRequest& request, QueryVector vector);

// The value counts that the request asks for.
absl::Status FillFacets(index::Collection& collection, const v1::SearchRequest& request,
                        v1::SearchResponse* response);

void FillSearchResponse(index::RankedResult result, const v1::SearchRequest& request,
                        v1::SearchResponse* response);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HANDLERS_RANKING_H_
