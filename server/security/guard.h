// What stands between strangers and the handlers: certificates, keys, audit log.
#ifndef IMAGESEARCH_SERVER_SECURITY_GUARD_H_
#define IMAGESEARCH_SERVER_SECURITY_GUARD_H_

#include <memory>

#include "absl/status/statusor.h"
#include "server/config/server_config.pb.h"
#include "server/security/access.h"
#include "server/security/audit_log.h"
#include "server/security/certificate_store.h"

namespace imagesearch::server {

// Its parts are thread-safe.
struct Guard {
  std::shared_ptr<CertificateStore> certificates;  // null: plaintext
  std::shared_ptr<Access> access;
  std::unique_ptr<AuditLog> audit;  // null: none is kept
};

// As configured. Fails with what is wrong: a file that can't be read, a bad pair, a bad key file.
absl::StatusOr<std::unique_ptr<Guard>> OpenGuard(const ServerConfig& config);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_SECURITY_GUARD_H_
