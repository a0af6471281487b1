// Prometheus series of the calls. Labels take known methods, codes and reasons only, so that no
// caller can grow them.
#include "server/metrics.h"

#include <utility>

#include "base/error.h"
#include "prometheus/text_serializer.h"

namespace imagesearch::server {
namespace {

template <typename Builder>
auto& Gauge(Builder builder, prometheus::Registry& registry, const char* name, const char* help) {
  return builder.Name(name).Help(help).Register(registry).Add({});
}

std::string CodeName(absl::StatusCode code) { return absl::StatusCodeToString(code); }

}  // namespace

Metrics::Metrics() : registry_(std::make_shared<prometheus::Registry>()) {
  calls_ = &prometheus::BuildCounter()
                .Name("imagesearch_calls_total")
                .Help("Finished calls by method and status code")
                .Register(*registry_);
  seconds_ = &prometheus::BuildHistogram()
                  .Name("imagesearch_call_seconds")
                  .Help("Time of a unary call from its receipt to its end")
                  .Register(*registry_);
  errors_ = &prometheus::BuildCounter()
                 .Name("imagesearch_errors_total")
                 .Help("Failed calls by method and reason")
                 .Register(*registry_);
  stream_items_ = &prometheus::BuildCounter()
                       .Name("imagesearch_stream_items_total")
                       .Help("Acknowledged messages of UpsertStream by reason (OK when stored)")
                       .Register(*registry_);
  calls_in_flight_ = &Gauge(prometheus::BuildGauge(), *registry_, "imagesearch_calls_in_flight",
                            "Admitted unary calls");
  bytes_in_flight_ = &Gauge(prometheus::BuildGauge(), *registry_, "imagesearch_bytes_in_flight",
                            "Request bytes of admitted unary calls");
  streams_ = &Gauge(prometheus::BuildGauge(), *registry_, "imagesearch_streams",
                    "Open UpsertStream calls");
  live_ = &Gauge(prometheus::BuildGauge(), *registry_, "imagesearch_live",
                 "1 while health service `live` is SERVING");
  ready_ = &Gauge(prometheus::BuildGauge(), *registry_, "imagesearch_ready",
                  "1 while health service `ready` is SERVING");
}

void Metrics::RecordCall(absl::string_view method, const absl::Status& status,
                         absl::Duration time) {
  MutexLock lock(&mutex_);
  auto found = methods_.find(method);
  if (found == methods_.end()) found = methods_.emplace(std::string(method), MethodSeries()).first;
  MethodSeries& series = found->second;
  if (series.seconds == nullptr) {
    series.seconds = &seconds_->Add(
        {{"method", found->first}},
        prometheus::Histogram::BucketBoundaries{0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05,
                                                0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30});
  }
  series.seconds->Observe(absl::ToDoubleSeconds(time));
  const int code = static_cast<int>(status.code());
  prometheus::Counter*& counter = series.by_code[code >= 0 && code < 17 ? code : 2];
  if (counter == nullptr) {
    counter = &calls_->Add({{"method", found->first}, {"code", CodeName(status.code())}});
  }
  counter->Increment();
  if (!status.ok()) {
    errors_->Add({{"method", found->first}, {"reason", ReasonOf(status)}}).Increment();
  }
}

void Metrics::RecordStreamItem(const absl::Status& status) {
  stream_items_->Add({{"reason", status.ok() ? "OK" : ReasonOf(status)}}).Increment();
}

void Metrics::AddSource(std::shared_ptr<prometheus::Collectable> source) {
  MutexLock lock(&mutex_);
  sources_.push_back(std::move(source));
}

std::string Metrics::Text() const {
  std::vector<prometheus::MetricFamily> families = registry_->Collect();
  std::vector<std::shared_ptr<prometheus::Collectable>> sources;
  {
    MutexLock lock(&mutex_);
    sources = sources_;
  }
  for (const auto& source : sources) {
    for (prometheus::MetricFamily& family : source->Collect())
      families.push_back(std::move(family));
  }
  return prometheus::TextSerializer().Serialize(families);
}

}  // namespace imagesearch::server
