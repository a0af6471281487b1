// Counters of the calls, and a registry that other parts add their own collectors to. Served as
// text by the HTTP port.
#ifndef IMAGESEARCH_SERVER_METRICS_H_
#define IMAGESEARCH_SERVER_METRICS_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "prometheus/collectable.h"
#include "prometheus/counter.h"
#include "prometheus/gauge.h"
#include "prometheus/histogram.h"
#include "prometheus/registry.h"

namespace imagesearch::server {

// Thread-safe.
class Metrics {
 public:
  Metrics();

  // A call of `method` ended. Errors are also counted by their reason.
  void RecordCall(absl::string_view method, const absl::Status& status, absl::Duration time);
  // An item of an UpsertStream ended.
  void RecordStreamItem(const absl::Status& status);

  prometheus::Gauge& calls_in_flight() { return *calls_in_flight_; }
  prometheus::Gauge& bytes_in_flight() { return *bytes_in_flight_; }
  prometheus::Gauge& streams() { return *streams_; }
  prometheus::Gauge& live() { return *live_; }
  prometheus::Gauge& ready() { return *ready_; }

  prometheus::Registry& registry() { return *registry_; }
  // `source` is asked at each Text(); it must outlive this or be given by shared pointer.
  void AddSource(std::shared_ptr<prometheus::Collectable> source);

  // Everything in Prometheus's text format.
  std::string Text() const;

 private:
  struct MethodSeries {
    prometheus::Histogram* seconds = nullptr;
    prometheus::Counter* by_code[17] = {};
  };

  std::shared_ptr<prometheus::Registry> registry_;
  prometheus::Family<prometheus::Counter>* calls_;
  prometheus::Family<prometheus::Histogram>* seconds_;
  prometheus::Family<prometheus::Counter>* errors_;
  prometheus::Family<prometheus::Counter>* stream_items_;
  prometheus::Gauge* calls_in_flight_;
  prometheus::Gauge* bytes_in_flight_;
  prometheus::Gauge* streams_;
  prometheus::Gauge* live_;
  prometheus::Gauge* ready_;

  mutable Mutex mutex_;
  std::map<std::string, MethodSeries, std::less<>> methods_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::shared_ptr<prometheus::Collectable>> sources_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_METRICS_H_
