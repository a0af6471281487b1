// Channel arguments and the service config with the retry policy.
#include "client/channel.h"

#include <fstream>
#include <sstream>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/substitute.h"
#include "base/error.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"

namespace imagesearch::client {
namespace {

// UpsertStream is left out of the retries: client/uploader.h resumes it, sending again only what
// has no ack.
constexpr char kServiceConfig[] = R"({
  "loadBalancingConfig": [{"$0": {}}],
  "methodConfig": [
    {"name": [{"service": "imagesearch.v1.ImageSearch", "method": "UpsertStream"}]},
    {"name": [{"service": "imagesearch.v1.ImageSearch"}, {"service": "imagesearch.v1.Admin"}],
     "retryPolicy": {
       "maxAttempts": $1,
       "initialBackoff": "0.1s",
       "maxBackoff": "2s",
       "backoffMultiplier": 2,
       "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]}}],
  "retryThrottling": {"maxTokens": 100, "tokenRatio": 0.1}
})";

constexpr char kServiceConfigWithoutRetries[] = R"({"loadBalancingConfig": [{"$0": {}}]})";

absl::StatusOr<std::string> ReadPem(const std::string& path) {
  if (path.empty()) return std::string();
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  if (!in || !(text << in.rdbuf())) {
    return InvalidArgument("BAD_PEM_FILE", absl::StrCat("can't read the PEM file ", path));
  }
  return text.str();
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> MakeCredentials(
    const ChannelOptions& options) {
  if (!options.tls) return grpc::InsecureChannelCredentials();
  if (options.certificate_file.empty() != options.key_file.empty()) {
    return InvalidArgument("BAD_TLS_OPTIONS",
                           "a client certificate needs its key, and the reverse");
  }
  grpc::SslCredentialsOptions ssl;
  for (auto [path, pem] : {std::pair{&options.ca_file, &ssl.pem_root_certs},
                           std::pair{&options.certificate_file, &ssl.pem_cert_chain},
                           std::pair{&options.key_file, &ssl.pem_private_key}}) {
    auto text = ReadPem(*path);
    if (!text.ok()) return text.status();
    *pem = *std::move(text);
  }
  return grpc::SslCredentials(ssl);
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const ChannelOptions& options) {
  if (options.target.empty()) {
    return InvalidArgument("BAD_TARGET", "the server's address is empty: give HOST:PORT");
  }
  if (options.max_attempts < 1 || options.max_attempts > 5) {
    return InvalidArgument("BAD_MAX_ATTEMPTS",
                           absl::StrCat("max_attempts is ", options.max_attempts, ", not 1 to 5"));
  }
  auto credentials = MakeCredentials(options);
  if (!credentials.ok()) return credentials.status();

  grpc::ChannelArguments arguments;
  arguments.SetMaxSendMessageSize(static_cast<int>(options.max_message_bytes));
  arguments.SetMaxReceiveMessageSize(static_cast<int>(options.max_reply_bytes));
  arguments.SetInt(GRPC_ARG_PER_RPC_RETRY_BUFFER_SIZE, static_cast<int>(options.max_message_bytes));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS,
                   static_cast<int>(absl::ToInt64Milliseconds(options.keepalive_time)));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS,
                   static_cast<int>(absl::ToInt64Milliseconds(options.keepalive_timeout)));
  // A server that restarts is found again within seconds; the default backs off to two minutes.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 5000);
  const char* policy = options.round_robin ? "round_robin" : "pick_first";
  arguments.SetServiceConfigJSON(
      options.max_attempts > 1 ? absl::Substitute(kServiceConfig, policy, options.max_attempts)
                               : absl::Substitute(kServiceConfigWithoutRetries, policy));
  arguments.SetUserAgentPrefix("imagesearch-client/0.1");
  if (!options.tls_server_name.empty()) {
    arguments.SetSslTargetNameOverride(options.tls_server_name);
  }
  return grpc::CreateCustomChannel(options.target, *credentials, arguments);
}

}  // namespace imagesearch::client
