// Search and SearchBatch: queries -> vectors -> collection -> hits.
#include <algorithm>
#include <cmath>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "server/grpc_status.h"
#include "server/handlers/convert.h"
#include "server/handlers/handlers.h"
#include "server/handlers/query.h"
#include "server/handlers/target.h"
#include "server/handlers/validate.h"

namespace imagesearch::server {
namespace {

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
  return CheckFilter(request.filter(), limits);
}

index::Query ToQuery(const v1::SearchRequest& request, QueryVector vector) {
  index::Query query;
  query.vector = std::move(vector.values);
  query.kind = vector.kind;
  query.filter = request.filter();
  query.limit = request.has_limit() ? request.limit() : 10;
  query.offset = request.offset();
  if (request.has_min_score()) query.min_score = request.min_score();
  query.exact = request.exact();
  query.with_metadata = request.with_metadata();
  query.with_vector = request.with_vector();
  return query;
}

// One search on its way through the stages; the first stage that fails sets `status`.
struct Pending {
  v1::SearchRequest* request = nullptr;
  absl::Status status;
  Target target;
  QueryVector vector;
  index::SearchResult result;
};

void FindTargets(const ServerState& state, const CallContext& call,
                 std::vector<Pending>& searches) {
  for (Pending& search : searches) {
    search.status = CheckSearch(*search.request, state.limits());
    if (!search.status.ok()) continue;
    auto target =
        FindTarget(state, search.request->collection(), search.request->min_version(), call);
    search.status = target.status();
    if (target.ok()) search.target = *std::move(target);
  }
}

void Resolve(const ServerState& state, CallContext& call, std::vector<Pending>& searches) {
  std::vector<QueryToResolve> queries;
  std::vector<Pending*> owners;
  for (Pending& search : searches) {
    if (!search.status.ok()) continue;
    queries.push_back({&search.target, search.request->mutable_query()});
    owners.push_back(&search);
  }
  auto vectors = ResolveQueries(queries, call, state.limits());
  for (size_t i = 0; i < owners.size(); ++i) {
    owners[i]->status = vectors[i].status();
    if (vectors[i].ok()) owners[i]->vector = *std::move(vectors[i]);
  }
}

// Searches of one collection go to it together.
void Execute(CallContext& call, std::vector<Pending>& searches) {
  StageTimer timer(call, "index");
  std::map<index::Collection*, std::vector<Pending*>> groups;
  for (Pending& search : searches) {
    if (search.status.ok()) groups[search.target.collection.get()].push_back(&search);
  }
  for (auto& [collection, members] : groups) {
    std::vector<index::Query> queries;
    for (Pending* member : members) {
      queries.push_back(ToQuery(*member->request, member->vector));
    }
    std::vector<absl::StatusOr<index::SearchResult>> results;
    if (queries.size() == 1) {
      results.push_back(collection->Search(queries[0]));
    } else {
      results = collection->SearchBatch(queries);
    }
    for (size_t i = 0; i < members.size(); ++i) {
      members[i]->status = results[i].status();
      if (results[i].ok()) members[i]->result = *std::move(results[i]);
    }
  }
}

void RunSearches(const ServerState& state, CallContext& call, std::vector<Pending>& searches) {
  FindTargets(state, call, searches);
  Resolve(state, call, searches);
  Execute(call, searches);
}

void FillResponse(Pending& search, v1::SearchResponse* response) {
  for (index::Hit& hit : search.result.hits) {
    v1::Hit* out = response->add_hits();
    out->set_id(std::move(hit.id));
    out->set_score(hit.score);
    if (search.request->with_metadata()) *out->mutable_metadata() = std::move(hit.metadata);
    if (search.request->with_vector()) FillVector(hit.vector, out->mutable_vector());
  }
  response->set_version(search.result.version);
  response->set_truncated_text(search.vector.truncated_text);
}

}  // namespace

absl::Status Search(ServerState& state, CallContext& call, v1::SearchRequest* request,
                    v1::SearchResponse* response) {
  std::vector<Pending> searches(1);
  searches[0].request = request;
  RunSearches(state, call, searches);
  if (searches[0].status.ok()) FillResponse(searches[0], response);
  return searches[0].status;
}

absl::Status SearchBatch(ServerState& state, CallContext& call, v1::SearchBatchRequest* request,
                         v1::SearchBatchResponse* response) {
  absl::Status status =
      CheckCount(request->requests_size(), state.limits().max_search_batch, "requests");
  if (!status.ok()) return status;
  status = state.backend().status();
  if (!status.ok()) return status;
  std::vector<Pending> searches(request->requests_size());
  for (size_t i = 0; i < searches.size(); ++i) searches[i].request = request->mutable_requests(i);
  RunSearches(state, call, searches);
  // Room for the statuses of all is kept; what an answer would take beyond it is refused alone.
  uint64_t budget = state.limits().max_reply_bytes;
  budget -= std::min<uint64_t>(budget / 2, searches.size() * 1200);
  for (Pending& search : searches) {
    v1::SearchResult* result = response->add_results();
    if (search.status.ok()) {
      FillResponse(search, result->mutable_response());
      const uint64_t bytes = result->response().ByteSizeLong();
      if (bytes > budget) {
        result->clear_response();
        search.status = InvalidArgument("REPLY_TOO_LARGE",
                                        "the replies of this batch exceed the byte budget of a "
                                        "reply: ask for fewer hits or without vectors");
      } else {
        budget -= bytes;
      }
    }
    FillStatus(search.status, result->mutable_status());
  }
  return absl::OkStatus();
}

}  // namespace imagesearch::server
