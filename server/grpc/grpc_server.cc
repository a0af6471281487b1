// Builds the server. The numbers behind these settings are in docs/operations.md.
#include "server/grpc/grpc_server.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "grpc/support/log.h"
#include "grpcpp/ext/proto_server_reflection_plugin.h"
#include "grpcpp/impl/server_builder_option.h"
#include "grpcpp/impl/server_builder_plugin.h"
#include "grpcpp/resource_quota.h"
#include "server/grpc/tls_credentials.h"
#include "server/logging.h"

namespace imagesearch::server {
namespace {

int MillisOrNever(int seconds) {
  return seconds == 0 || seconds > std::numeric_limits<int>::max() / 1000
             ? std::numeric_limits<int>::max()
             : seconds * 1000;
}

// gRPC's own lines, in our format. What a client did wrong is an error to gRPC; to us it is not.
void LogOfGrpc(gpr_log_func_args* line) {
  Log(line->severity == GPR_LOG_SEVERITY_ERROR ? LogLevel::kWarn : LogLevel::kDebug, "grpc",
      {{"message", line->message}, {"where", absl::StrCat(line->file, ":", line->line)}});
}

// Linking the reflection library makes every server of the process reflect. This takes its plugin,
// the only one, out of one builder again.
class NoPlugins final : public grpc::ServerBuilderOption {
 public:
  void UpdateArguments(grpc::ChannelArguments*) override {}
  void UpdatePlugins(std::vector<std::unique_ptr<grpc::ServerBuilderPlugin>>* plugins) override {
    plugins->clear();
  }
};

void SetConnections(const ServerConfig& config, grpc::ServerBuilder& builder) {
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, config.handshake_timeout_ms());
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, config.max_concurrent_streams());
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, config.keepalive_time_ms());
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, config.keepalive_timeout_ms());
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             config.min_client_ping_ms());
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS,
                             MillisOrNever(config.connection_idle_s()));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS,
                             MillisOrNever(config.connection_age_s()));
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS,
                             MillisOrNever(config.connection_age_grace_s()));
}

void SetMemory(const ServerConfig& config, grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(static_cast<int>(config.max_message_bytes()));
  // A compressed message is inflated before its size is checked, so a small one can take gigabytes:
  // compression is not accepted at all (images don't shrink anyway).
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_DEFLATE, false);
  builder.SetCompressionAlgorithmSupportStatus(GRPC_COMPRESS_GZIP, false);
  // A message above the limit is buffered before it is refused: only the quota bounds that.
  grpc::ResourceQuota quota("imagesearchd");
  quota.Resize(static_cast<size_t>(config.grpc_memory_mb()) << 20);
  builder.SetResourceQuota(quota);
}

AcceptorLimits ConnectionLimits(const ServerConfig& config) {
  AcceptorLimits limits;
  limits.connections =
      config.max_connections() > 0 ? config.max_connections() : AffordableConnections();
  limits.of_one_client =
      std::max(1, static_cast<int>(int64_t{limits.connections} * config.max_client_share() / 100));
  return limits;
}

}  // namespace

absl::StatusOr<HostPort> ParseHostPort(absl::string_view text) {
  const size_t colon = text.rfind(':');
  HostPort result;
  if (colon == absl::string_view::npos || !absl::SimpleAtoi(text.substr(colon + 1), &result.port) ||
      result.port < 0 || result.port > 65535) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\" is no HOST:PORT, for example 127.0.0.1:50051 or [::]:0"));
  }
  result.host = std::string(text.substr(0, colon));
  if (result.host.find(':') != std::string::npos &&
      (result.host.front() != '[' || result.host.back() != ']')) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", text, "\": an IPv6 address needs brackets, for example [::1]:50051"));
  }
  return result;
}

void ListeningServer::Shutdown(std::chrono::system_clock::time_point deadline) {
  acceptor->Stop();
  server->Shutdown(deadline);
}

absl::StatusOr<ListeningServer> StartGrpcServer(const ServerConfig& config,
                                                const std::vector<grpc::Service*>& services,
                                                std::shared_ptr<CertificateStore> certificates) {
  absl::StatusOr<HostPort> address = ParseHostPort(config.listen());
  if (!address.ok()) return address.status();
  gpr_set_log_function(&LogOfGrpc);
  grpc::ServerBuilder builder;
  SetConnections(config, builder);
  SetMemory(config, builder);
  if (config.reflection()) {
    grpc::reflection::InitProtoReflectionServerBuilderPlugin();  // once is enough, more do no harm
  } else {
    builder.SetOption(std::make_unique<NoPlugins>());
  }
  ListeningServer result;
  absl::StatusOr<std::shared_ptr<Acceptor>> acceptor =
      Acceptor::Listen(address->host, address->port, ConnectionLimits(config));
  if (!acceptor.ok()) return acceptor.status();
  result.acceptor = *std::move(acceptor);
  result.port = result.acceptor->port();
  result.credentials = certificates == nullptr ? grpc::InsecureServerCredentials()
                                               : MakeTlsCredentials(std::move(certificates));
  result.handover = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, result.credentials);
  for (grpc::Service* service : services) builder.RegisterService(service);
  result.server = builder.BuildAndStart();
  if (result.server == nullptr) {
    return absl::InternalError("gRPC could not start; its own lines in the log say why");
  }
  result.acceptor->Start([handover = result.handover.get()](int listener, int connection) {
    grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters parameters;
    parameters.listener_fd = listener;
    parameters.fd = connection;
    handover->HandleNewConnection(&parameters);
  });
  return result;
}

}  // namespace imagesearch::server
