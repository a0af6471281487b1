// Reembed, RollbackReembed, FinishReembed.
#include "server/operations/reembed.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "server/grpc_status.h"
#include "server/handlers/target.h"
#include "server/operations/operations.h"

namespace imagesearch::server {
namespace {

// What speaks against it already. Also drops what a failed attempt at a third
// model left.
absl::Status Prepare(const Backend &backend, const index::CollectionOptions &options,
                     const encoder::ModelInfo &model) {
  if (options.model_fingerprint.empty()) {
    return Error(absl::StatusCode::kFailedPrecondition, "NO_MODEL",
                 absl::StrCat("collection ", options.name,
                              " holds ready vectors of no model and can't be re-embedded"));
  }
  if (options.model_fingerprint == model.fingerprint) {
    return Error(absl::StatusCode::kFailedPrecondition, "SAME_MODEL",
                 absl::StrCat("collection ", options.name, " has model ", model.id, " already"));
  }
  const bool active = backend.operations->IsActive(v1::Operation::REEMBED, options.name);
  for (const index::ReembedInfo &other : backend.database->ListReembeds()) {
    if (other.collection != options.name) continue;
    if (!other.is_building) {
      return Error(absl::StatusCode::kFailedPrecondition, "PREVIOUS_KEPT",
                   absl::StrCat("the vectors that collection ", options.name,
                                " had before are kept still: FinishReembed drops them, ",
                                "RollbackReembed returns to them"));
    }
    if (active || other.model_fingerprint == model.fingerprint) continue;
    absl::Status status = backend.database->AbandonReembed(options.name);
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::Status CheckNamed(const std::string &collection) {
  if (!collection.empty()) return absl::OkStatus();
  return AtField(InvalidArgument("BAD_NAME", "the name of the collection is empty"), "collection");
}

}  // namespace

absl::Status Reembed(ServerState &state, CallContext &call, v1::ReembedRequest *request,
                     v1::Operation *response) {
  absl::Status status = CheckNamed(request->collection());
  if (!status.ok()) return status;
  absl::StatusOr<Target> target = FindTarget(state, request->collection());
  if (!target.ok()) return target.status();
  const Backend &backend = *target->backend;
  absl::StatusOr<Models::ModelPtr> model = backend.models->Find(request->model());
  if (!model.ok()) return AtField(model.status(), "model");
  const index::CollectionOptions options = target->collection->options();
  status = Prepare(backend, options, (*model)->info());
  if (!status.ok()) return status;
  ReembedSpec reembed;
  reembed.set_model_id((*model)->info().id);
  reembed.set_model_fingerprint((*model)->info().fingerprint);
  reembed.set_leave_out_missing(request->leave_out_missing());
  Operations::Spec spec;
  spec.kind = v1::Operation::REEMBED;
  spec.collection = options.name;
  spec.resume = reembed.SerializeAsString();
  auto operation = backend.operations->Start(
      spec, MakeReembed(backend, state.facts(), state.limits(), options.name, reembed));
  if (!operation.ok()) return operation.status();
  *response = *std::move(operation);
  return absl::OkStatus();
}

absl::Status RollbackReembed(ServerState &state, CallContext &call,
                             v1::RollbackReembedRequest *request,
                             v1::RollbackReembedResponse *response) {
  absl::Status status = CheckNamed(request->collection());
  if (!status.ok()) return status;
  auto backend = state.backend();
  if (!backend.ok()) return backend.status();
  auto version =
      (*backend)->database->RollBackReembed(request->collection(), request->discard_writes());
  if (!version.ok()) return version.status();
  response->set_version(*version);
  return absl::OkStatus();
}

absl::Status FinishReembed(ServerState &state, CallContext &call, v1::FinishReembedRequest *request,
                           v1::FinishReembedResponse *response) {
  absl::Status status = CheckNamed(request->collection());
  if (!status.ok()) return status;
  auto backend = state.backend();
  if (!backend.ok()) return backend.status();
  auto version = (*backend)->database->FinishReembed(request->collection());
  if (!version.ok()) return version.status();
  response->set_version(*version);
  return absl::OkStatus();
}

}  // namespace imagesearch::server
