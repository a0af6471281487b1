// Joins state, services, health and port, in the order of a server's life.
#include "server/server.h"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/steady_time.h"
#include "encoder/batching_encoder.h"
#include "server/backend_metrics.h"
#include "server/config/limits.h"
#include "server/forward/writer_credentials.h"
#include "server/grpc/services.h"
#include "server/handlers/target.h"
#include "server/logging.h"
#include "server/operations/reembed.h"

namespace imagesearch::server {
namespace {

// The towers are stuck when something waits and nothing has moved for this long.
constexpr absl::Duration kStuck = absl::Minutes(2);
constexpr absl::Duration kProbeTimeout = absl::Seconds(3);
constexpr absl::Duration kSnapshotTime = absl::Seconds(4);

bool IsReader(const ServerConfig& config) { return config.role() == "reader"; }

std::unique_ptr<Forwarder> MakeForwarder(const ServerConfig& config,
                                         std::shared_ptr<grpc::ChannelCredentials> credentials,
                                         const Guard& guard, Metrics* metrics) {
  if (!IsReader(config)) return nullptr;
  ForwarderOptions options;
  options.writer = config.writer();
  options.credentials = std::move(credentials);
  options.certificate_name = config.writer_name();
  options.max_calls = config.max_forwarded_calls();
  options.max_streams = config.max_streams();
  options.max_message_bytes = static_cast<int>(config.max_message_bytes());
  return std::make_unique<Forwarder>(options, guard.access.get(), metrics);
}

CallRunnerOptions RunnerOptions(const ServerConfig& config, CallForwarder* forwarder) {
  CallRunnerOptions options;
  options.forwarder = forwarder;
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  options.index_threads =
      config.index_threads() > 0 ? config.index_threads() : std::max(4, 2 * cores);
  options.max_queued_calls = config.max_queued_calls();
  options.max_encode_calls = config.max_encode_calls();
  options.max_bulk_calls = config.max_bulk_calls();
  options.max_inflight_bytes = static_cast<uint64_t>(config.max_inflight_mb()) << 20;
  options.default_deadline = absl::Milliseconds(config.default_deadline_ms());
  options.slow_call = absl::Milliseconds(config.slow_call_ms());
  options.access_log = config.access_log();
  options.max_client_share = config.max_client_share() / 100.0;
  return options;
}

UpsertStreamOptions StreamOptions(const ServerConfig& config) {
  UpsertStreamOptions options;
  options.max_streams = config.max_streams();
  options.window_images = config.stream_window_images();
  options.window_bytes = 2 * config.max_message_bytes();
  options.max_client_streams = std::max(1, config.max_streams() * config.max_client_share() / 100);
  return options;
}

bool IsLoopback(const std::string& host) {
  return host == "localhost" || host == "[::1]" || absl::StartsWith(host, "127.");
}

void WarnOfOpenPort(const std::string& address, const Guard& guard) {
  const absl::StatusOr<HostPort> parsed = ParseHostPort(address);
  if (!parsed.ok() || IsLoopback(parsed->host)) return;
  const bool known =
      guard.access->needs_keys() ||
      (guard.certificates != nullptr && guard.certificates->asks_for_client_certificates());
  if (!known) {
    Log(LogLevel::kWarn,
        guard.certificates == nullptr
            ? "PLAINTEXT WITHOUT KEYS: whoever reaches this port can read, change and delete every "
              "image"
            : "NO KEYS: whoever reaches this port can read, change and delete every image",
        {{"address", address}, {"cure", "--api-keys, --tls-client-ca, or listen on loopback"}});
  } else if (guard.certificates == nullptr) {
    Log(LogLevel::kWarn,
        "KEYS OVER PLAINTEXT: whoever can listen on the network learns the keys and the images",
        {{"address", address}, {"cure", "--tls-cert and --tls-key"}});
  }
}

ServerFacts WithConfig(const ServerConfig& config, ServerFacts facts) {
  facts.backup_dir = config.backup_dir();
  facts.models_dir = config.models_dir();
  facts.source_dir = config.source_dir();
  facts.models_memory_bytes = static_cast<uint64_t>(config.models_memory_mb()) << 20;
  facts.role = config.index().empty() ? config.role() : "stateless";
  if (IsReader(config)) facts.writer = config.writer();
  return facts;
}

absl::Status MakeDefaultCollection(const Backend& backend) {
  if (backend.database->GetCollection(kDefaultCollection).ok()) return absl::OkStatus();
  const encoder::ModelInfo& model = backend.encoder->model();
  index::CollectionOptions options;
  options.name = kDefaultCollection;
  options.dimension = model.dimension;
  options.model_id = model.id;
  options.model_fingerprint = model.fingerprint;
  absl::Status status = backend.database->CreateCollection(options).status();
  return absl::IsAlreadyExists(status) ? absl::OkStatus() : status;
}

}  // namespace

Server::Server(const ServerConfig& config, ServerFacts facts, std::unique_ptr<Guard> guard,
               std::shared_ptr<grpc::ChannelCredentials> to_writer)
    : config_(config),
      guard_(std::move(guard)),
      state_(LimitsOf(config), WithConfig(config, std::move(facts))),
      forwarder_(MakeForwarder(config, std::move(to_writer), *guard_, &metrics_)),
      runner_(RunnerOptions(config, forwarder_.get()), &state_, &metrics_, guard_.get()),
      streams_(StreamOptions(config), &state_, &metrics_, guard_.get()),
      services_(MakeServices(&runner_, &streams_, forwarder_.get())) {}

Server::~Server() {
  watchdog_.reset();
  http_.reset();
  if (listening_.server != nullptr) {
    streams_.Drain();
    if (forwarder_ != nullptr) forwarder_->Drain();
    health_.Shutdown();
    listening_.Shutdown(std::chrono::system_clock::now());
  }
  forwarder_.reset();  // its calls end in the runner, which goes next
}

absl::StatusOr<std::unique_ptr<Server>> Server::Start(const ServerConfig& config,
                                                      ServerFacts facts) {
  absl::StatusOr<std::unique_ptr<Guard>> guard = OpenGuard(config);
  if (!guard.ok()) return guard.status();
  auto to_writer = WriterCredentials(config);
  if (!to_writer.ok()) return to_writer.status();
  std::unique_ptr<Server> server(
      new Server(config, std::move(facts), *std::move(guard), *std::move(to_writer)));
  server->state_.SetProgress("opening the model and the data folder");
  std::vector<grpc::Service*> services = {&server->health_};
  for (const auto& service : server->services_) services.push_back(service.get());
  absl::StatusOr<ListeningServer> listening =
      StartGrpcServer(config, services, server->guard_->certificates);
  if (!listening.ok()) return listening.status();
  server->listening_ = *std::move(listening);
  server->metrics_.AddSource(server->listening_.acceptor);
  server->metrics_.AddSource(server->guard_->access);
  if (server->guard_->certificates) server->metrics_.AddSource(server->guard_->certificates);
  server->health_.SetLive(true);
  server->metrics_.live().Set(1);
  Log(LogLevel::kInfo, "listening",
      {{"address", config.listen()}, {"port", absl::StrCat(server->port())}});
  if (!config.http().empty()) {
    HttpOptions options;
    options.address = config.http();
    options.pictures = config.http_pictures();
    options.certificates = server->guard_->certificates;
    options.open_metrics = config.open_metrics();
    options.max_client_share = config.max_client_share() / 100.0;
    options.live = [raw = server.get()] { return raw->live(); };
    absl::StatusOr<std::unique_ptr<HttpServer>> http =
        HttpServer::Start(options, &server->state_, &server->runner_, &server->metrics_);
    if (!http.ok()) return http.status();
    server->http_ = *std::move(http);
    Log(LogLevel::kInfo, "listening for HTTP",
        {{"address", config.http()}, {"port", absl::StrCat(server->http_port())}});
  }
  if (IsReader(config) && server->guard_->access->needs_keys() && !config.writer_tls() &&
      config.writer_ca().empty() && !IsLoopback(ParseHostPort(config.writer())->host)) {
    Log(LogLevel::kWarn,
        "KEYS OVER PLAINTEXT: calls that are sent on to the writer carry their callers' keys",
        {{"writer", config.writer()}, {"cure", "--writer-tls"}});
  }
  WarnOfOpenPort(config.listen(), *server->guard_);
  WarnOfOpenPort(config.http(), *server->guard_);
  return server;
}

absl::Status Server::Serve(Backend backend) {
  if (backend.models == nullptr) {
    backend.models = std::make_shared<Models>(ServedModel{"", backend.encoder, backend.batching});
  }
  // Operations run in the writer, and a reader writes nothing into the folder.
  const bool keeps_operations = !IsReader(config_) && !backend.data_dir.empty();
  if (!IsReader(config_)) {
    absl::Status status = MakeDefaultCollection(backend);
    if (!status.ok()) return status;
  }
  auto operations = Operations::Open(keeps_operations ? backend.data_dir + "/operations" : "");
  if (!operations.ok()) return operations.status();
  backend.operations = *std::move(operations);
  if (!IsReader(config_)) RestoreOperations(backend, state_.facts(), state_.limits());
  metrics_.AddSource(MakeBackendMetrics(backend));
  state_.SetBackend(std::make_shared<const Backend>(std::move(backend)));
  state_.SetProgress("");
  if (config_.probe_interval_ms() > 0) {
    WatchdogOptions options;
    options.interval = absl::Milliseconds(config_.probe_interval_ms());
    options.live = [this] { return CheckLive(); };
    options.ready = [this] { return CheckReady(); };
    options.on_live = [this](const absl::Status& status) { OnLive(status); };
    options.on_ready = [this](const absl::Status& status) { OnReady(status); };
    watchdog_ = std::make_unique<Watchdog>(std::move(options));
  } else {
    OnReady(CheckReady());
  }
  return absl::OkStatus();
}

absl::Status Server::CheckLive() const {
  absl::Status status = ProbeListener(ParseHostPort(config_.listen())->host, listening_.port,
                                      guard_->certificates != nullptr, kProbeTimeout);
  if (!status.ok()) return status;
  const auto backend = state_.backend();
  if (!backend.ok()) return absl::OkStatus();
  for (const Models::ModelPtr& model : (*backend)->models->List()) {
    if (model->batching == nullptr) continue;
    const encoder::BatchingStats stats = model->batching->stats();
    const uint64_t waiting = stats.interactive.queued_items + stats.bulk.queued_items;
    if (waiting > 0 && stats.last_progress != absl::InfinitePast() &&
        SteadyNow() - stats.last_progress > kStuck) {
      return absl::UnavailableError(
          absl::StrCat("the towers of ", model->info().id, " have not moved for ",
                       absl::FormatDuration(kStuck), " and ", waiting, " inputs wait"));
    }
  }
  return absl::OkStatus();
}

absl::Status Server::CheckReady() const {
  const auto backend = state_.backend();
  if (!backend.ok()) return backend.status();
  // A writer makes the default collection before it serves, so that its first readers find it too.
  if (IsReader(config_) && (*backend)->database->version() == 0) {
    return absl::UnavailableError("the writer has not made the default collection yet");
  }
  return (*backend)->database->WriteHealth();
}

void Server::OnLive(const absl::Status& status) {
  live_ = status.ok();
  health_.SetLive(status.ok());
  metrics_.live().Set(status.ok() ? 1 : 0);
  if (!status.ok()) Log(LogLevel::kError, "not live", {{"cause", std::string(status.message())}});
}

void Server::OnReady(const absl::Status& status) {
  if (draining_) return;
  state_.SetReady(status.ok());
  health_.SetReady(status.ok());
  metrics_.ready().Set(status.ok() ? 1 : 0);
  if (status.ok()) {
    Log(LogLevel::kInfo, "ready",
        {{"after_ms", absl::StrCat(absl::ToInt64Milliseconds(SteadyNow() - state_.started()))}});
  } else {
    Log(LogLevel::kError, "not ready", {{"cause", std::string(status.message())}});
  }
}

absl::Status Server::Drain() {
  if (draining_.exchange(true)) return absl::OkStatus();
  watchdog_.reset();
  state_.SetReady(false);
  health_.SetReady(false);
  metrics_.ready().Set(0);
  Log(LogLevel::kInfo, "draining",
      {{"calls", absl::StrCat(runner_.in_flight())}, {"streams", absl::StrCat(streams_.open())}});
  absl::SleepFor(absl::Milliseconds(config_.drain_notice_ms()));
  streams_.Drain();
  if (forwarder_ != nullptr) forwarder_->Drain();
  health_.Shutdown();
  if (http_ != nullptr) http_->Stop();
  listening_.Shutdown(std::chrono::system_clock::now() +
                      std::chrono::milliseconds(config_.drain_timeout_ms()));
  const auto backend = state_.backend();
  absl::Status status;
  if (backend.ok()) {
    (*backend)->operations->Stop();
    status = (*backend)->database->Close(SteadyNow() + kSnapshotTime);
  }
  Log(status.ok() ? LogLevel::kInfo : LogLevel::kError, "stopped",
      {{"cause", std::string(status.message())}});
  return status;
}

}  // namespace imagesearch::server
