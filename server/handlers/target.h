// The collection that a call is about, together with what serves it.
#ifndef IMAGESEARCH_SERVER_HANDLERS_TARGET_H_
#define IMAGESEARCH_SERVER_HANDLERS_TARGET_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "server/call_context.h"
#include "server/server_state.h"

namespace imagesearch::server {

inline constexpr char kDefaultCollection[] = "default";

struct Target {
  std::shared_ptr<const Backend> backend;
  std::shared_ptr<index::Collection> collection;
  // Whether texts and images can be encoded for this collection: OK, or FAILED_PRECONDITION with
  // NO_MODEL (a collection of ready vectors) or MODEL_MISMATCH (its model is not loaded).
  absl::Status encodes;
  // The collection's model; null when `encodes` is not OK.
  std::shared_ptr<encoder::Encoder> encoder;
};

// `name` empty: the default collection. Errors: NOT_READY, NO_SUCH_COLLECTION.
absl::StatusOr<Target> FindTarget(const ServerState& state, const std::string& name);

// The same once the server has at least `min_version` (0: no wait): DEADLINE_EXCEEDED otherwise.
absl::StatusOr<Target> FindTarget(const ServerState& state, const std::string& name,
                                  uint64_t min_version, const CallContext& call);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HANDLERS_TARGET_H_
