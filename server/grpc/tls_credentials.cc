// gRPC core asks a callback for the certificate before each handshake, and keeps what it has when
// there is nothing new. That is safer than gRPC's file watcher, which lets go of the old pair
// before it has tried the new one.
#include "server/grpc/tls_credentials.h"

#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "base/mutex.h"
#include "grpc/grpc.h"
#include "grpc/grpc_security.h"

namespace imagesearch::server {
namespace {

class TlsCredentials final : public grpc::ServerCredentials {
 public:
  explicit TlsCredentials(std::shared_ptr<CertificateStore> store) : store_(std::move(store)) {
    const auto request = store_->asks_for_client_certificates()
                             ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                             : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE;
    credentials_ = grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(request, &Fetch, this));
  }
  ~TlsCredentials() override { grpc_server_credentials_release(credentials_); }

  // Keys are checked per call (server/security/access.h), for plaintext ports as well.
  void SetAuthMetadataProcessor(const std::shared_ptr<grpc::AuthMetadataProcessor>&) override {}

 private:
  int AddPortToServer(const std::string& address, grpc_server* server) override {
    return grpc_server_add_http2_port(server, address.c_str(), credentials_);
  }

  static grpc_ssl_certificate_config_reload_status Fetch(
      void* self, grpc_ssl_server_certificate_config** config) {
    return static_cast<TlsCredentials*>(self)->FetchNew(config);
  }

  grpc_ssl_certificate_config_reload_status FetchNew(grpc_ssl_server_certificate_config** config) {
    const CertificateStore::Current current = store_->current();
    MutexLock lock(&mutex_);
    if (current.generation == fetched_) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    const TlsPems& pems = current.material->pems;
    const grpc_ssl_pem_key_cert_pair pair = {pems.key.c_str(), pems.certificate.c_str()};
    // gRPC 1.51 insists on authorities, and reads them, even where no client is asked for a
    // certificate: then any certificate will do.
    const std::string& authorities = pems.client_ca.empty() ? pems.certificate : pems.client_ca;
    *config = grpc_ssl_server_certificate_config_create(authorities.c_str(), &pair, 1);
    if (*config == nullptr) return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
    fetched_ = current.generation;
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
  }

  const std::shared_ptr<CertificateStore> store_;
  grpc_server_credentials* credentials_;
  Mutex mutex_;
  uint64_t fetched_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace

std::shared_ptr<grpc::ServerCredentials> MakeTlsCredentials(
    std::shared_ptr<CertificateStore> store) {
  return std::make_shared<TlsCredentials>(std::move(store));
}

}  // namespace imagesearch::server
