// Compares contents, not times: a file system may keep a time through a rename.
#include "server/security/certificate_store.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "prometheus/metric_family.h"
#include "server/logging.h"

namespace imagesearch::server {

CertificateStore::CertificateStore(const TlsFiles& files,
                                   std::shared_ptr<const TlsMaterial> material)
    : files_(files), current_{std::move(material), 1} {}

absl::StatusOr<std::shared_ptr<CertificateStore>> CertificateStore::Open(const TlsFiles& files,
                                                                         absl::Duration interval) {
  absl::StatusOr<TlsPems> pems = ReadPems(files);
  if (!pems.ok()) return pems.status();
  absl::StatusOr<TlsMaterial> material = CheckPems(*std::move(pems), absl::Now());
  if (!material.ok()) return material.status();
  std::shared_ptr<CertificateStore> store(
      new CertificateStore(files, std::make_shared<const TlsMaterial>(*std::move(material))));
  store->watch_ =
      std::make_unique<Periodic>(interval, [raw = store.get()] { (void)raw->Reload(); });
  return store;
}

CertificateStore::Current CertificateStore::current() const {
  MutexLock lock(&mutex_);
  return current_;
}

absl::Status CertificateStore::Reload() {
  absl::StatusOr<TlsPems> pems = ReadPems(files_);
  if (pems.ok()) {
    MutexLock lock(&mutex_);
    if (*pems == current_.material->pems) return refusal_ = absl::OkStatus();
    if (*pems == refused_pems_) return refusal_;
  }
  absl::StatusOr<TlsMaterial> material =
      pems.ok() ? CheckPems(*pems, absl::Now()) : absl::StatusOr<TlsMaterial>(pems.status());
  MutexLock lock(&mutex_);
  if (material.ok()) {
    current_ = {std::make_shared<const TlsMaterial>(*std::move(material)), current_.generation + 1};
    refusal_ = absl::OkStatus();
    ++swaps_;
    Log(LogLevel::kInfo, "new certificate",
        {{"fingerprint", current_.material->fingerprint},
         {"not_after", absl::FormatTime(current_.material->not_after, absl::UTCTimeZone())}});
    return refusal_;
  }
  if (refusal_ != material.status()) {
    Log(LogLevel::kError, "certificate refused, the one before keeps serving",
        {{"certificate", files_.certificate}, {"cause", std::string(material.status().message())}});
  }
  if (pems.ok()) refused_pems_ = *std::move(pems);
  refusal_ = material.status();
  ++refusals_;
  return refusal_;
}

std::vector<prometheus::MetricFamily> CertificateStore::Collect() const {
  using prometheus::MetricType;
  MutexLock lock(&mutex_);
  std::vector<prometheus::MetricFamily> families;
  const auto add = [&](const char* name, const char* help, MetricType type, double value) {
    prometheus::ClientMetric metric;
    (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
    families.push_back({name, help, type, {metric}});
  };
  add("imagesearch_tls_not_after_seconds",
      "When the certificate in force expires, seconds since 1970", MetricType::Gauge,
      static_cast<double>(absl::ToUnixSeconds(current_.material->not_after)));
  add("imagesearch_tls_refused", "1 while the certificate files on disk are bad and not in force",
      MetricType::Gauge, refusal_.ok() ? 0 : 1);
  add("imagesearch_tls_swaps_total", "Certificates put in force after the start",
      MetricType::Counter, static_cast<double>(swaps_));
  add("imagesearch_tls_refusals_total", "Looks at the files that found a bad pair",
      MetricType::Counter, static_cast<double>(refusals_));
  return families;
}

}  // namespace imagesearch::server
