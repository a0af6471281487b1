// Search and SearchBatch: queries -> vectors -> collection -> hits.
#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "base/error.h"
#include "server/grpc_status.h"
#include "server/handlers/handlers.h"
#include "server/handlers/query.h"
#include "server/handlers/ranking.h"
#include "server/handlers/target.h"
#include "server/handlers/validate.h"

namespace imagesearch::server {
namespace {

// One search on its way through the stages; the first stage that fails sets `status`.
struct Pending {
  v1::SearchRequest* request = nullptr;
  absl::Status status;
  Target target;
  QueryVector vector;
  bool truncated_text = false;
  index::RankedResult result;
  v1::SearchResponse facets;  // these alone
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
    if (!vectors[i].ok()) continue;
    owners[i]->truncated_text = vectors[i]->truncated_text;
    owners[i]->vector = *std::move(vectors[i]);
  }
}

index::RankedResult ToRanked(index::SearchResult result) {
  index::RankedResult ranked;
  for (index::Hit& hit : result.hits) {
    const double order = hit.score;
    ranked.hits.push_back({std::move(hit), order});
  }
  ranked.version = result.version;
  return ranked;
}

// Searches of one collection go to it together; those that ask for more than the nearest
// neighbours one after another.
void Execute(ServerState& state, CallContext& call, std::vector<Pending>& searches) {
  StageTimer timer(call, "index");
  struct Group {
    std::vector<index::Query> queries;
    std::vector<Pending*> owners;
  };
  std::map<index::Collection*, Group> groups;
  for (Pending& search : searches) {
    if (!search.status.ok()) continue;
    index::Collection* collection = search.target.collection.get();
    index::RankedQuery ranked = ToRankedQuery(*search.request, std::move(search.vector));
    if (ranked.plain()) {
      groups[collection].queries.push_back(std::move(ranked.query));
      groups[collection].owners.push_back(&search);
      continue;
    }
    auto result = index::SearchRanked(*collection, state.backgrounds(), ranked);
    search.status = result.status();
    if (result.ok()) search.result = *std::move(result);
  }
  for (auto& [collection, group] : groups) {
    std::vector<absl::StatusOr<index::SearchResult>> results;
    if (group.queries.size() == 1) {
      results.push_back(collection->Search(group.queries[0]));
    } else {
      results = collection->SearchBatch(group.queries);
    }
    for (size_t i = 0; i < results.size(); ++i) {
      group.owners[i]->status = results[i].status();
      if (results[i].ok()) group.owners[i]->result = ToRanked(*std::move(results[i]));
    }
  }
}

// What goes into the response beside the hits.
void AddFacets(CallContext& call, std::vector<Pending>& searches) {
  for (Pending& search : searches) {
    if (!search.status.ok() || search.request->facets().empty()) continue;
    StageTimer timer(call, "facets");
    search.status = FillFacets(*search.target.collection, *search.request, &search.facets);
  }
}

void RunSearches(ServerState& state, CallContext& call, std::vector<Pending>& searches) {
  FindTargets(state, call, searches);
  Resolve(state, call, searches);
  Execute(state, call, searches);
  AddFacets(call, searches);
}

void FillResponse(Pending& search, v1::SearchResponse* response) {
  FillSearchResponse(std::move(search.result), *search.request, response);
  response->set_truncated_text(search.truncated_text);
  response->mutable_facets()->Swap(search.facets.mutable_facets());
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
