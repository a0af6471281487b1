// Looks a collection up and compares its model with the server's.
#include "server/handlers/target.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace imagesearch::server {
namespace {

absl::Status CanEncode(const index::CollectionOptions& options, const encoder::ModelInfo& model) {
  if (options.model_id.empty() && options.model_fingerprint.empty()) {
    return Error(absl::StatusCode::kFailedPrecondition, "NO_MODEL",
                 absl::StrCat("collection ", options.name,
                              " holds ready vectors and has no model: send vectors or ids"));
  }
  if (options.model_fingerprint != model.fingerprint) {
    return Error(absl::StatusCode::kFailedPrecondition, "MODEL_MISMATCH",
                 absl::StrCat("collection ", options.name, " was made with model ",
                              options.model_id, ", this server runs ", model.id,
                              ": its vectors can't be compared; vectors and ids still work"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Target> FindTarget(const ServerState& state, const std::string& name) {
  absl::StatusOr<std::shared_ptr<const Backend>> backend = state.backend();
  if (!backend.ok()) return backend.status();
  absl::StatusOr<std::shared_ptr<index::Collection>> collection =
      (*backend)->database->GetCollection(name.empty() ? kDefaultCollection : name);
  if (!collection.ok()) return collection.status();
  Target target{*std::move(backend), *std::move(collection), absl::OkStatus()};
  target.encodes = CanEncode(target.collection->options(), target.backend->encoder->model());
  return target;
}

absl::StatusOr<Target> FindTarget(const ServerState& state, const std::string& name,
                                  uint64_t min_version, const CallContext& call) {
  if (min_version > 0) {
    absl::StatusOr<std::shared_ptr<const Backend>> backend = state.backend();
    if (!backend.ok()) return backend.status();
    absl::Status status = (*backend)->database->WaitForVersion(min_version, call.deadline);
    if (!status.ok()) return status;
  }
  return FindTarget(state, name);
}

}  // namespace imagesearch::server
