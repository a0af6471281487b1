// Opens each part that the settings name.
#include "server/security/guard.h"

#include <utility>

#include "absl/strings/str_cat.h"

namespace imagesearch::server {

absl::StatusOr<std::unique_ptr<Guard>> OpenGuard(const ServerConfig& config) {
  auto guard = std::make_unique<Guard>();
  const absl::Duration interval = absl::Seconds(config.security_reload_s());
  if (config.tls_cert().empty() != config.tls_key().empty()) {
    return absl::InvalidArgumentError("--tls-cert and --tls-key are given together");
  }
  if (config.tls_cert().empty() && !config.tls_client_ca().empty()) {
    return absl::InvalidArgumentError("--tls-client-ca needs --tls-cert and --tls-key");
  }
  if (!config.tls_cert().empty()) {
    auto certificates = CertificateStore::Open(
        {config.tls_cert(), config.tls_key(), config.tls_client_ca()}, interval);
    if (!certificates.ok()) {
      return absl::Status(certificates.status().code(),
                          absl::StrCat("TLS: ", certificates.status().message()));
    }
    guard->certificates = *std::move(certificates);
  }
  absl::StatusOr<std::shared_ptr<Access>> access = Access::Open(config.api_keys(), interval);
  if (!access.ok()) {
    return absl::Status(access.status().code(),
                        absl::StrCat("--api-keys: ", access.status().message()));
  }
  guard->access = *std::move(access);
  if (!config.audit_log().empty()) {
    absl::StatusOr<std::unique_ptr<AuditLog>> audit = AuditLog::Open(config.audit_log());
    if (!audit.ok()) return audit.status();
    guard->audit = *std::move(audit);
  }
  return guard;
}

}  // namespace imagesearch::server
