// Looks a collection up and compares its model with the server's.
#include "server/handlers/target.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace imagesearch::server {
namespace {

absl::StatusOr<std::shared_ptr<encoder::Encoder>> EncoderOf(const index::CollectionOptions& options,
                                                            const Models& models) {
  if (options.model_id.empty() && options.model_fingerprint.empty()) {
    return Error(absl::StatusCode::kFailedPrecondition, "NO_MODEL",
                 absl::StrCat("collection ", options.name,
                              " holds ready vectors and has no model: send vectors or ids"));
  }
  const Models::ModelPtr model = models.ByFingerprint(options.model_fingerprint);
  if (model == nullptr) {
    return Error(absl::StatusCode::kFailedPrecondition, "MODEL_MISMATCH",
                 absl::StrCat("collection ", options.name, " was made with model ",
                              options.model_id, ", this server runs ", models.Names(),
                              ": vectors of two models can't be compared. Load that model; ",
                              "vectors and ids work without it"));
  }
  return model->encoder;
}

}  // namespace

absl::StatusOr<Target> FindTarget(const ServerState& state, const std::string& name) {
  absl::StatusOr<std::shared_ptr<const Backend>> backend = state.backend();
  if (!backend.ok()) return backend.status();
  absl::StatusOr<std::shared_ptr<index::Collection>> collection =
      (*backend)->database->GetCollection(name.empty() ? kDefaultCollection : name);
  if (!collection.ok()) return collection.status();
  Target target{*std::move(backend), *std::move(collection), absl::OkStatus(), nullptr};
  auto encoder = EncoderOf(target.collection->options(), *target.backend->models);
  target.encodes = encoder.status();
  if (encoder.ok()) target.encoder = *std::move(encoder);
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
