// Collections and server information.
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "server/grpc_status.h"
#include "server/handlers/convert.h"
#include "server/handlers/handlers.h"
#include "server/handlers/target.h"
#include "server/security/access.h"

namespace imagesearch::server {
namespace {

// Model and dimension of a new collection.
absl::Status ChooseModel(const v1::Collection& wanted, const Models& models, const Limits& limits,
                         index::CollectionOptions* options) {
  if (wanted.dimension() < 0 || wanted.dimension() > static_cast<int64_t>(limits.max_dimension)) {
    return AtField(
        InvalidArgument("BAD_DIMENSION", absl::StrCat("must be 1 to ", limits.max_dimension,
                                                      ", or 0 for that of the model")),
        "collection.dimension");
  }
  if (wanted.model_id().empty() && wanted.dimension() > 0) {
    options->dimension = wanted.dimension();
    return absl::OkStatus();
  }
  const absl::StatusOr<Models::ModelPtr> found = models.Find(wanted.model_id());
  if (!found.ok()) {
    return AtField(Error(absl::StatusCode::kFailedPrecondition, "MODEL_MISMATCH",
                         absl::StrCat("this server runs ", models.Names())),
                   "collection.model_id");
  }
  const encoder::ModelInfo& model = (*found)->info();
  if (wanted.dimension() > 0 && wanted.dimension() != model.dimension) {
    return AtField(InvalidArgument("DIM_MISMATCH", absl::StrCat("the model makes vectors of ",
                                                                model.dimension, " values")),
                   "collection.dimension");
  }
  options->model_id = model.id;
  options->model_fingerprint = model.fingerprint;
  options->dimension = model.dimension;
  return absl::OkStatus();
}

void FillLimits(const Limits& limits, v1::Limits* out) {
  out->set_max_message_bytes(limits.max_message_bytes);
  out->set_max_image_pixels(limits.image.max_pixels);
  out->set_max_image_side(limits.image.max_side);
  out->set_max_limit(limits.max_limit);
  out->set_max_id_bytes(limits.max_id_bytes);
  out->set_max_metadata_bytes(limits.max_metadata_bytes);
  out->set_max_metadata_keys(limits.max_metadata_keys);
  out->set_max_text_bytes(limits.max_text_bytes);
  out->set_max_upsert_images(limits.max_upsert_images);
  out->set_max_search_batch(limits.max_search_batch);
  out->set_max_encode_inputs(limits.max_encode_inputs);
  out->set_max_reply_bytes(limits.max_reply_bytes);
  out->set_max_offset(limits.max_offset);
  out->set_max_filter_bytes(limits.max_filter_bytes);
  out->set_max_query_terms(limits.max_query_terms);
}

void FillWithAliases(const std::shared_ptr<index::Collection>& collection,
                     index::Database& database, v1::Collection* out) {
  FillCollection(collection->Info(), out);
  for (const index::Alias& alias : database.ListAliases()) {
    if (alias.collection == out->name()) out->add_aliases(alias.name);
  }
}

}  // namespace

absl::Status CreateCollection(ServerState& state, CallContext& call,
                              v1::CreateCollectionRequest* request,
                              v1::CreateCollectionResponse* response) {
  auto backend = state.backend();
  if (!backend.ok()) return backend.status();
  const v1::Collection& wanted = request->collection();
  index::CollectionOptions options;
  options.name = wanted.name();
  options.keep_originals = wanted.keep_originals();
  auto index_options = ToIndexOptions(wanted.index());
  if (!index_options.ok()) return AtField(index_options.status(), "collection");
  options.index = *index_options;
  options.quota = ToQuota(wanted.quota());
  absl::Status status = ChooseModel(wanted, *(*backend)->models, state.limits(), &options);
  if (!status.ok()) return status;
  absl::StatusOr<uint64_t> version = (*backend)->database->CreateCollection(options);
  if (!version.ok()) return version.status();
  auto collection = (*backend)->database->GetCollection(options.name);
  if (!collection.ok()) return collection.status();
  FillWithAliases(*collection, *(*backend)->database, response->mutable_collection());
  response->set_version(*version);
  return absl::OkStatus();
}

absl::Status UpdateCollection(ServerState& state, CallContext& call,
                              v1::UpdateCollectionRequest* request,
                              v1::UpdateCollectionResponse* response) {
  absl::StatusOr<Target> target = FindTarget(state, request->collection());
  if (!target.ok()) return target.status();
  index::CollectionUpdate update;
  if (request->has_quota()) update.quota = ToQuota(request->quota());
  if (request->has_keep_originals()) update.keep_originals = request->keep_originals();
  if (request->has_target_recall()) update.target_recall = request->target_recall();
  index::Database& database = *target->backend->database;
  auto version = database.UpdateCollection(target->collection->options().name, update);
  if (!version.ok()) return version.status();
  FillWithAliases(target->collection, database, response->mutable_collection());
  response->set_version(*version);
  return absl::OkStatus();
}

absl::Status GetCollection(ServerState& state, CallContext& call, v1::GetCollectionRequest* request,
                           v1::GetCollectionResponse* response) {
  absl::StatusOr<Target> target = FindTarget(state, request->collection());
  if (!target.ok()) return target.status();
  FillWithAliases(target->collection, *target->backend->database, response->mutable_collection());
  return absl::OkStatus();
}

absl::Status ListCollections(ServerState& state, CallContext& call,
                             v1::ListCollectionsRequest* request,
                             v1::ListCollectionsResponse* response) {
  auto backend = state.backend();
  if (!backend.ok()) return backend.status();
  for (const auto& collection : (*backend)->database->ListCollections()) {
    // A key for some collections learns of no others.
    if (!Access::Authorize(Scope::kRead, {{collection->options().name}}, call).ok()) continue;
    FillWithAliases(collection, *(*backend)->database, response->add_collections());
  }
  return absl::OkStatus();
}

absl::Status DeleteCollection(ServerState& state, CallContext& call,
                              v1::DeleteCollectionRequest* request,
                              v1::DeleteCollectionResponse* response) {
  auto backend = state.backend();
  if (!backend.ok()) return backend.status();
  // No default here: nobody deletes everything by leaving a field out.
  if (request->collection().empty()) {
    return AtField(InvalidArgument("BAD_NAME", "the name of the collection is empty"),
                   "collection");
  }
  absl::StatusOr<uint64_t> version = (*backend)->database->DeleteCollection(request->collection());
  if (!version.ok()) return version.status();
  response->set_version(*version);
  return absl::OkStatus();
}

absl::Status GetServerInfo(ServerState& state, CallContext& call, v1::GetServerInfoRequest* request,
                           v1::GetServerInfoResponse* response) {
  response->set_server_version(state.facts().version);
  response->set_simd_level(state.facts().simd_level);
  response->set_encoder_threads(state.facts().encoder_threads);
  response->mutable_start_time()->set_seconds(absl::ToUnixSeconds(state.start_time()));
  response->set_ready(state.ready());
  response->set_role(state.facts().role);
  response->set_writer(state.facts().writer);
  FillLimits(state.limits(), response->mutable_limits());
  auto backend = state.backend();
  if (!backend.ok()) {  // still starting: what is known is the answer
    response->set_progress(state.progress());
    return absl::OkStatus();
  }
  FillModel((*backend)->encoder->model(), response->mutable_model());
  for (const Models::ModelPtr& model : (*backend)->models->List()) {
    FillModel(model->info(), response->add_models());
  }
  response->set_version((*backend)->database->version());
  response->set_instance_id((*backend)->database->instance_id());
  return absl::OkStatus();
}

}  // namespace imagesearch::server
