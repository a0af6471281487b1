// Terms -> one unit vector: texts and images are encoded, ids looked up, vectors taken; their
// weighted sum is normalised.
#ifndef IMAGESEARCH_SERVER_HANDLERS_QUERY_H_
#define IMAGESEARCH_SERVER_HANDLERS_QUERY_H_

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/limits.h"
#include "imagesearch/v1/imagesearch.pb.h"
#include "index/collection.h"
#include "server/call_context.h"
#include "server/handlers/target.h"

namespace imagesearch::server {

struct QueryVector {
  std::vector<float> values;  // length 1
  index::QueryKind kind = index::QueryKind::kImage;
  bool truncated_text = false;
};

// One query and the collection that it is for. `query` may be consumed.
struct QueryToResolve {
  const Target* target = nullptr;
  v1::Query* query = nullptr;
};

// Resolves all queries with one wait for the encoder. Result i belongs to queries[i]. Errors name
// the term: EMPTY_QUERY, TOO_MANY_TERMS, BAD_TERM, BAD_WEIGHT, ZERO_NORM (the terms cancel out),
// those of CheckVector and of the encoder, NO_MODEL, MODEL_MISMATCH, NOT_FOUND (an unknown id).
std::vector<absl::StatusOr<QueryVector>> ResolveQueries(absl::Span<const QueryToResolve> queries,
                                                        CallContext& call, const Limits& limits);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HANDLERS_QUERY_H_
