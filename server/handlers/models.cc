// ListModels, LoadModel, UnloadModel.
#include <algorithm>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "server/grpc_status.h"
#include "server/handlers/convert.h"
#include "server/handlers/handlers.h"
#include "server/logging.h"
#include "server/model_loader.h"

namespace imagesearch::server {
namespace {

namespace fs = std::filesystem;

constexpr size_t kMaxNameBytes = 128;
constexpr uint64_t kMiB = 1 << 20;

// The checkpoint's folder: a name, never a path, so that nobody reaches what lies elsewhere.
absl::StatusOr<std::string> FolderOf(const std::string& models_dir, const std::string& name) {
  if (models_dir.empty()) {
    return Error(absl::StatusCode::kFailedPrecondition, "NO_MODELS_DIR",
                 "the server was started without --models-dir: it loads no models while it runs");
  }
  const bool plain = std::all_of(name.begin(), name.end(), [](char c) {
    return absl::ascii_isalnum(c) || c == '-' || c == '_' || c == '.';
  });
  if (name.empty() || name.size() > kMaxNameBytes || !plain || name[0] == '.') {
    return AtField(
        InvalidArgument("BAD_NAME", absl::StrCat("the name of a folder in --models-dir has 1 to ",
                                                 kMaxNameBytes, " letters, digits, -, _ and ., ",
                                                 "and starts with no point")),
        "name");
  }
  std::error_code error;
  const fs::path folder = fs::path(models_dir) / name;
  if (!fs::is_directory(folder, error)) {
    return AtField(Error(absl::StatusCode::kNotFound, "NO_SUCH_MODEL",
                         absl::StrCat("--models-dir has no folder '", name, "'")),
                   "name");
  }
  // A link may lead out of it.
  const fs::path real = fs::canonical(folder, error);
  const fs::path root = error ? fs::path() : fs::canonical(models_dir, error);
  if (error || !absl::StartsWith(real.string(), root.string() + "/")) {
    return AtField(Error(absl::StatusCode::kPermissionDenied, "BAD_NAME",
                         absl::StrCat("'", name, "' leads out of --models-dir")),
                   "name");
  }
  return real.string();
}

std::vector<std::string> FoldersIn(const std::string& models_dir) {
  std::vector<std::string> names;
  std::error_code error;
  if (models_dir.empty()) return names;
  for (const auto& entry : fs::directory_iterator(models_dir, error)) {
    if (entry.is_directory(error)) names.push_back(entry.path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

// Refuses what would not fit.
absl::Status CheckMemory(const Backend& backend, const ServerFacts& facts, uint64_t needed,
                         uint64_t available) {
  if (needed > available) {
    return Error(absl::StatusCode::kResourceExhausted, "MODEL_MEMORY",
                 absl::StrCat("loading it takes about ", needed / kMiB, " MiB, and ",
                              available / kMiB, " MiB are available: unload another first"));
  }
  if (facts.models_memory_bytes == 0) return absl::OkStatus();
  uint64_t held = 0;
  for (const Models::ModelPtr& model : backend.models->List()) held += model->info().memory_bytes;
  if (held + needed <= facts.models_memory_bytes) return absl::OkStatus();
  return Error(absl::StatusCode::kResourceExhausted, "MODEL_MEMORY",
               absl::StrCat("loading it takes about ", needed / kMiB, " MiB; models hold ",
                            held / kMiB, " MiB already and --models-memory-mb allows ",
                            facts.models_memory_bytes / kMiB));
}

}  // namespace

absl::Status ListModels(ServerState& state, CallContext& call, v1::ListModelsRequest* request,
                        v1::ListModelsResponse* response) {
  auto backend = state.backend();
  if (!backend.ok()) return backend.status();
  const std::vector<std::shared_ptr<index::Collection>> collections =
      (*backend)->database->ListCollections();
  for (const Models::ModelPtr& model : (*backend)->models->List()) {
    v1::LoadedModel* out = response->add_models();
    FillModel(model->info(), out->mutable_model());
    out->set_is_default(model == (*backend)->models->Default());
    out->set_memory_bytes(model->info().memory_bytes);
    for (const auto& collection : collections) {
      const index::CollectionOptions options = collection->options();
      if (options.model_fingerprint == model->info().fingerprint) {
        out->add_collections(options.name);
      }
    }
  }
  for (std::string& name : FoldersIn(state.facts().models_dir)) {
    response->add_available(std::move(name));
  }
  return absl::OkStatus();
}

absl::Status LoadModel(ServerState& state, CallContext& call, v1::LoadModelRequest* request,
                       v1::LoadModelResponse* response) {
  auto backend = state.backend();
  if (!backend.ok()) return backend.status();
  absl::StatusOr<std::string> folder = FolderOf(state.facts().models_dir, request->name());
  if (!folder.ok()) return folder.status();
  ModelLoader* loader = (*backend)->loader.get();
  if (loader == nullptr) {
    return Error(absl::StatusCode::kUnimplemented, "UNSUPPORTED", "this server loads no models");
  }
  // One at a time, so that two don't count on the same memory.
  static Mutex loading;
  if (!loading.TryLock()) {
    return WithRetryAfter(
        Error(absl::StatusCode::kUnavailable, "LOADING_MODEL", "another model is being loaded"),
        absl::Seconds(5));
  }
  struct Unlock {
    ~Unlock() { loading.Unlock(); }
  } unlock;
  absl::StatusOr<uint64_t> needed = loader->Estimate(*folder, request->precision());
  if (!needed.ok()) return AtField(needed.status(), "name");
  const uint64_t available = AvailableMemory();
  response->set_estimated_bytes(*needed);
  response->set_available_bytes(available);
  Log(LogLevel::kInfo, "memory of a model",
      {{"name", request->name()},
       {"estimated_mib", absl::StrCat(*needed / kMiB)},
       {"available_mib", absl::StrCat(available / kMiB)}});
  absl::Status fits = CheckMemory(**backend, state.facts(), *needed, available);
  if (!fits.ok()) return fits;
  if (request->check_only()) return absl::OkStatus();
  StageTimer timer(call, "load");
  absl::StatusOr<ServedModel> model = loader->Load(*folder, request->precision());
  if (!model.ok()) return AtField(model.status(), "name");
  const encoder::ModelInfo info = model->info();
  absl::Status added = (*backend)->models->Add(*std::move(model));
  if (!added.ok()) return added;
  FillModel(info, response->mutable_model());
  response->set_memory_bytes(info.memory_bytes);
  Log(LogLevel::kInfo, "model",
      {{"id", info.id}, {"precision", info.precision}, {"because", info.precision_reason}});
  return absl::OkStatus();
}

absl::Status UnloadModel(ServerState& state, CallContext& call, v1::UnloadModelRequest* request,
                         v1::UnloadModelResponse* response) {
  auto backend = state.backend();
  if (!backend.ok()) return backend.status();
  if (request->model().empty()) {
    return AtField(InvalidArgument("BAD_NAME", "the name of the model is empty"), "model");
  }
  Models& models = *(*backend)->models;
  absl::StatusOr<Models::ModelPtr> model = models.Find(request->model());
  if (!model.ok()) return AtField(model.status(), "model");
  for (const index::ReembedInfo& reembed : (*backend)->database->ListReembeds()) {
    if (!reembed.is_building || reembed.model_fingerprint != (*model)->info().fingerprint) continue;
    return AtField(Error(absl::StatusCode::kFailedPrecondition, "MODEL_IN_USE",
                         absl::StrCat("collection ", reembed.collection,
                                      " is being re-embedded with it: cancel that first")),
                   "model");
  }
  absl::Status removed = models.Remove((*model)->info().id);
  if (!removed.ok()) return AtField(removed, "model");
  response->set_freed_bytes((*model)->info().memory_bytes);
  Log(LogLevel::kInfo, "model unloaded", {{"id", (*model)->info().id}});
  return absl::OkStatus();
}

}  // namespace imagesearch::server
