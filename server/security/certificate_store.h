// The certificate in force. Files that change on disk are checked aside and then swapped in; a bad
// pair is refused, and the one before keeps serving.
#ifndef IMAGESEARCH_SERVER_SECURITY_CERTIFICATE_STORE_H_
#define IMAGESEARCH_SERVER_SECURITY_CERTIFICATE_STORE_H_

#include <cstdint>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "prometheus/collectable.h"
#include "server/security/certificate.h"
#include "server/security/periodic.h"

namespace imagesearch::server {

// Thread-safe. Shows as imagesearch_tls_* in the metrics.
class CertificateStore : public prometheus::Collectable {
 public:
  // Looks at the files every `interval`. Fails as ReadPems and CheckPems do.
  static absl::StatusOr<std::shared_ptr<CertificateStore>> Open(const TlsFiles& files,
                                                                absl::Duration interval);

  struct Current {
    std::shared_ptr<const TlsMaterial> material;
    uint64_t generation = 0;  // grows with each swap
  };
  Current current() const;

  bool asks_for_client_certificates() const { return !files_.client_ca.empty(); }

  // Looks now. OK when what is on disk is in force.
  absl::Status Reload();

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  CertificateStore(const TlsFiles& files, std::shared_ptr<const TlsMaterial> material);

  const TlsFiles files_;

  mutable Mutex mutex_;
  Current current_ ABSL_GUARDED_BY(mutex_);
  TlsPems refused_pems_ ABSL_GUARDED_BY(mutex_);
  absl::Status refusal_ ABSL_GUARDED_BY(mutex_);  // of what is on disk; OK when it is in force
  uint64_t swaps_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t refusals_ ABSL_GUARDED_BY(mutex_) = 0;

  std::unique_ptr<Periodic> watch_;  // last: it uses the members above
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_SECURITY_CERTIFICATE_STORE_H_
