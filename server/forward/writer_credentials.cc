// PEM files -> credentials of the channel to the writer.
#include "server/forward/writer_credentials.h"

#include <fstream>
#include <sstream>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "server/security/certificate.h"

namespace imagesearch::server {
namespace {

absl::StatusOr<std::string> ReadAuthorities(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) {
    return absl::UnavailableError(absl::StrCat("--writer-ca: can't read ", path));
  }
  // gRPC takes anything, and then no certificate is good enough.
  if (!absl::StrContains(text.str(), "-----BEGIN CERTIFICATE-----")) {
    return absl::InvalidArgumentError(absl::StrCat("--writer-ca: no certificate in ", path));
  }
  return text.str();
}

}  // namespace

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> WriterCredentials(
    const ServerConfig& config) {
  if (config.writer_cert().empty() != config.writer_key().empty()) {
    return absl::InvalidArgumentError("--writer-cert and --writer-key are given together");
  }
  if (!config.writer_tls() && config.writer_ca().empty() && config.writer_cert().empty()) {
    if (!config.writer_name().empty()) {
      return absl::InvalidArgumentError("--writer-name needs --writer-tls or --writer-ca");
    }
    return grpc::InsecureChannelCredentials();
  }
  grpc::SslCredentialsOptions ssl;
  if (!config.writer_ca().empty()) {
    absl::StatusOr<std::string> authorities = ReadAuthorities(config.writer_ca());
    if (!authorities.ok()) return authorities.status();
    ssl.pem_root_certs = *std::move(authorities);
  }
  if (!config.writer_cert().empty()) {
    absl::StatusOr<TlsPems> pems = ReadPems({config.writer_cert(), config.writer_key(), ""});
    if (!pems.ok()) return pems.status();
    absl::StatusOr<TlsMaterial> checked = CheckPems(*std::move(pems), absl::Now());
    if (!checked.ok()) {
      return absl::Status(checked.status().code(),
                          absl::StrCat("--writer-cert: ", checked.status().message()));
    }
    ssl.pem_cert_chain = checked->pems.certificate;
    ssl.pem_private_key = checked->pems.key;
  }
  return grpc::SslCredentials(ssl);
}

}  // namespace imagesearch::server
