// The only file that knows which encoder and which database serve.
#include "server/open_backend.h"

#include <filesystem>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "index/embedded_database.h"
#include "index/milvus/milvus_database.h"
#include "index/reader_database.h"
#include "server/clip_model_loader.h"
#include "server/config/limits.h"
#include "server/text_sample.h"

namespace imagesearch::server {
namespace {

namespace fs = std::filesystem;

constexpr char kModelName[] = "imagesearch-lite-v1";

absl::Status Prefixed(absl::string_view what, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(what, ": ", status.message()));
}

// The default model, then those of --models.
absl::StatusOr<std::shared_ptr<Models>> OpenModels(const ServerConfig& config,
                                                   ClipModelLoader& loader) {
  std::string folder = config.model();
  if (folder.empty()) {
    absl::StatusOr<std::string> shipped = ShippedModel();
    if (!shipped.ok()) return shipped.status();
    folder = *std::move(shipped);
  }
  absl::StatusOr<ServedModel> first = loader.Load(folder, "");
  if (!first.ok()) return Prefixed("model", first.status());
  auto models = std::make_shared<Models>(*std::move(first));
  for (absl::string_view name : absl::StrSplit(config.models(), ',', absl::SkipWhitespace())) {
    // A bare name lies in --models-dir; this is the operator's own word, so any path will do.
    fs::path path(std::string(absl::StripAsciiWhitespace(name)));
    if (!path.has_parent_path() && !config.models_dir().empty()) {
      path = fs::path(config.models_dir()) / path;
    }
    absl::StatusOr<ServedModel> model = loader.Load(path.string(), "");
    absl::Status status = model.ok() ? models->Add(*std::move(model)) : model.status();
    if (!status.ok()) return Prefixed(absl::StrCat("--models ", path.string()), status);
  }
  return models;
}

absl::StatusOr<std::unique_ptr<index::Database>> OpenMilvus(
    const ServerConfig& config, const std::function<void(const std::string&)>& on_progress) {
  index::MilvusOptions options;
  absl::StatusOr<std::string> address = index::MilvusAddress(config.index());
  if (!address.ok()) return Prefixed("--index", address.status());
  options.address = *std::move(address);
  options.user = config.milvus_user();
  options.password = config.milvus_password();
  options.tls = config.milvus_tls();
  options.ca_file = config.milvus_ca();
  options.database = config.milvus_database();
  options.prefix = config.milvus_prefix();
  options.shards = config.milvus_shards();
  options.call_timeout = absl::Milliseconds(config.milvus_timeout_ms());
  options.sweep_interval = absl::Seconds(config.milvus_sweep_s());
  options.limits = LimitsOf(config);
  options.on_progress = on_progress;
  auto database = index::OpenMilvus(options);
  if (!database.ok()) return Prefixed("Milvus", database.status());
  return database;
}

absl::Status Restore(const ServerConfig& config,
                     const std::function<void(const std::string&)>& on_progress) {
  index::JobControl control;
  uint64_t told = 0;
  control.progress = [&](uint64_t done, uint64_t total) {
    const uint64_t percent = total == 0 ? 100 : 100 * done / total;
    if (percent / 10 == told / 10) return;
    told = percent;
    on_progress(absl::StrCat("restoring ", config.restore(), ": ", percent, " %"));
  };
  on_progress(absl::StrCat("restoring ", config.restore()));
  auto info = index::RestoreBackup(config.restore(), config.data_dir(), control);
  if (!info.ok()) return info.status();
  on_progress(absl::StrCat("restored version ", info->version, ", ", info->bytes >> 20, " MiB"));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<index::Database>> OpenDatabase(
    const ServerConfig& config, const std::function<void(const std::string&)>& on_progress,
    std::shared_ptr<TextSamples> texts) {
  if (!config.index().empty()) return OpenMilvus(config, on_progress);
  if (!config.restore().empty()) {
    absl::Status restored = Restore(config, on_progress);
    if (!restored.ok()) return Prefixed("restore", restored);
  }
  index::EmbeddedOptions options;
  options.data_dir = config.data_dir();
  options.build_threads = config.build_threads();
  options.merge_tail_rows = config.merge_tail_rows();
  options.min_indexed_rows = config.min_indexed_rows();
  options.max_memory_bytes = static_cast<uint64_t>(config.index_memory_mb()) << 20;
  options.snapshot_interval = absl::Seconds(config.snapshot_interval_s());
  options.disk_reserve_bytes = static_cast<uint64_t>(config.disk_reserve_mb()) << 20;
  options.limits = LimitsOf(config);
  options.on_progress = on_progress;
  options.text_sample = [texts = std::move(texts)](const index::CollectionOptions& collection) {
    return texts->Of(collection.model_fingerprint);
  };
  if (config.role() == "reader") {
    index::ReaderOptions reader;
    reader.embedded = std::move(options);
    reader.poll = absl::Milliseconds(config.follow_interval_ms());
    reader.max_staleness = absl::Milliseconds(config.max_staleness_ms());
    auto database = index::OpenReader(reader);
    if (!database.ok()) return Prefixed("data folder", database.status());
    return database;
  }
  auto database = index::OpenEmbedded(options);
  if (!database.ok()) return Prefixed("data folder", database.status());
  return database;
}

}  // namespace

absl::StatusOr<std::string> ShippedModel() {
  std::error_code error;
  const fs::path program = fs::read_symlink("/proc/self/exe", error);
  if (error) return absl::NotFoundError("can't tell where this program lies: give --model DIR");
  const fs::path folder = program.parent_path();
  std::string tried;
  for (const char* place : {"../share/imagesearch/models",  // PREFIX/bin
                            "../../../encoder/models",      // build/NAME/server
                            "../../encoder/models"}) {      // build/server
    const fs::path model = (folder / place / kModelName).lexically_normal();
    if (fs::exists(model / "config.json", error)) return model.string();
    absl::StrAppend(&tried, " ", model.string());
  }
  return absl::NotFoundError(
      absl::StrCat("the shipped model is not in", tried, ": give --model DIR"));
}

absl::StatusOr<Backend> OpenBackend(const ServerConfig& config,
                                    const std::function<void(const std::string&)>& on_progress) {
  // Shared, because the thread may outlive this call.
  auto database = std::make_shared<absl::StatusOr<std::unique_ptr<index::Database>>>(
      absl::UnknownError("not opened"));
  const auto texts = std::make_shared<TextSamples>(config.data_dir() + "/texts");
  std::thread opener([database, config, on_progress, texts] {
    *database = OpenDatabase(config, on_progress, texts);
  });
  auto loader = std::make_shared<ClipModelLoader>(config);
  auto models = OpenModels(config, *loader);
  if (!models.ok()) {
    // Recovery may take long and can't be stopped. The caller must end the process; as after a
    // crash, nothing that was acknowledged is lost.
    opener.detach();
    return models.status();
  }
  opener.join();
  if (!database->ok()) return database->status();
  Backend backend;
  backend.encoder = (*models)->Default()->encoder;
  backend.batching = (*models)->Default()->batching;
  backend.models = *std::move(models);
  backend.loader = loader;
  backend.data_dir = config.data_dir();
  // Not before the data folder is open: it may have had to be empty.
  for (const Models::ModelPtr& model : backend.models->List()) texts->Add(model->encoder);
  loader->OnLoaded(
      [texts](const std::shared_ptr<encoder::Encoder>& encoder) { texts->Add(encoder); });
  backend.database = std::move(**database);
  return backend;
}

}  // namespace imagesearch::server
