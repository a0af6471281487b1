// BatchingStats, CollectionInfo and the process's memory as Prometheus families.
#include "server/backend_metrics.h"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "encoder/batching_encoder.h"
#include "index/reader_database.h"
#include "prometheus/client_metric.h"
#include "prometheus/metric_family.h"
#include "prometheus/metric_type.h"

namespace imagesearch::server {
namespace {

using prometheus::ClientMetric;
using prometheus::MetricFamily;
using prometheus::MetricType;
using Labels = std::vector<ClientMetric::Label>;

class Families {
 public:
  void Add(const std::string& name, const char* help, MetricType type, double value,
           Labels labels = {}) {
    auto family = std::find_if(families_.begin(), families_.end(),
                               [&](const MetricFamily& known) { return known.name == name; });
    if (family == families_.end()) {
      family = families_.insert(family, {name, help, type, {}});
    }
    ClientMetric metric;
    metric.label = std::move(labels);
    if (!model_.empty()) metric.label.push_back({"model", model_});
    (type == MetricType::Counter ? metric.counter.value : metric.gauge.value) = value;
    family->metric.push_back(std::move(metric));
  }

  // What is added from now on is of this model; empty: of the default one, whose series have no
  // such label.
  void SetModel(std::string id) { model_ = std::move(id); }

  std::vector<MetricFamily> Take() { return std::move(families_); }

 private:
  std::vector<MetricFamily> families_;
  std::string model_;
};

void AddLanes(const encoder::BatchingStats& stats, Families& out) {
  using Lane = encoder::BatchingStats::Lane;
  struct Row {
    const char* name;
    const char* help;
    MetricType type;
    uint64_t Lane::*value;
  };
  static const Row kRows[] = {
      {"imagesearch_encoder_queued_items", "Inputs that wait for the towers", MetricType::Gauge,
       &Lane::queued_items},
      {"imagesearch_encoder_queued_bytes", "Their bytes", MetricType::Gauge, &Lane::queued_bytes},
      {"imagesearch_encoder_encoded_total", "Inputs encoded", MetricType::Counter, &Lane::encoded},
      {"imagesearch_encoder_refused_full_total", "Inputs refused for a full queue",
       MetricType::Counter, &Lane::refused_full},
      {"imagesearch_encoder_refused_deadline_total",
       "Inputs refused because their deadline could not be met", MetricType::Counter,
       &Lane::refused_deadline},
      {"imagesearch_encoder_dropped_expired_total",
       "Inputs dropped before the towers because their deadline passed", MetricType::Counter,
       &Lane::dropped_expired},
      {"imagesearch_encoder_dropped_cancelled_total",
       "Inputs dropped before the towers because the caller went away", MetricType::Counter,
       &Lane::dropped_cancelled},
  };
  for (const Row& row : kRows) {
    out.Add(row.name, row.help, row.type, static_cast<double>(stats.interactive.*row.value),
            {{"lane", "interactive"}});
    out.Add(row.name, row.help, row.type, static_cast<double>(stats.bulk.*row.value),
            {{"lane", "bulk"}});
  }
}

void AddEncoder(const encoder::BatchingStats& stats, Families& out) {
  AddLanes(stats, out);
  const auto both = [&out](const std::string& name, const char* help, uint64_t images,
                           uint64_t texts) {
    out.Add(name, help, MetricType::Counter, static_cast<double>(images), {{"kind", "image"}});
    out.Add(name, help, MetricType::Counter, static_cast<double>(texts), {{"kind", "text"}});
  };
  both("imagesearch_encoder_batches_total", "Batches that the towers ran", stats.image_batches,
       stats.text_batches);
  both("imagesearch_encoder_batched_inputs_total", "Inputs in those batches", stats.batched_images,
       stats.batched_texts);
  out.Add("imagesearch_encoder_shared_total", "Images that were in flight already",
          MetricType::Counter, static_cast<double>(stats.shared_in_flight));
  out.Add("imagesearch_encoder_text_cache_hits_total", "Texts answered from the cache",
          MetricType::Counter, static_cast<double>(stats.text_cache_hits));
  out.Add("imagesearch_encoder_seconds_total", "Time of the towers and of decoding and tokenising",
          MetricType::Counter, stats.tower_seconds, {{"stage", "towers"}});
  out.Add("imagesearch_encoder_seconds_total", "", MetricType::Counter, stats.prepare_seconds,
          {{"stage", "prepare"}});
}

void AddCollections(index::Database& database, Families& out) {
  std::vector<index::CollectionInfo> infos;
  for (const auto& collection : database.ListCollections()) infos.push_back(collection->Info());
  const auto each = [&](const char* name, const char* help,
                        uint64_t index::CollectionInfo::*field) {
    for (const index::CollectionInfo& info : infos) {
      out.Add(name, help, MetricType::Gauge, static_cast<double>(info.*field),
              {{"collection", info.options.name}});
    }
  };
  each("imagesearch_collection_images", "Live images", &index::CollectionInfo::image_count);
  each("imagesearch_collection_disk_bytes", "Bytes on disk, about",
       &index::CollectionInfo::disk_bytes);
  each("imagesearch_collection_memory_bytes", "Memory of the index, about",
       &index::CollectionInfo::memory_bytes);
  each("imagesearch_collection_tail_rows",
       "Rows in no index segment yet: searched exactly, and read from the store by a start",
       &index::CollectionInfo::tail_rows);
  for (const index::CollectionInfo& info : infos) {
    const auto recall = [&](const char* kind, const std::optional<double>& value) {
      if (!value) return;
      out.Add("imagesearch_collection_recall",
              "Recall@10 of recent answers without filter, against exact search", MetricType::Gauge,
              *value, {{"collection", info.options.name}, {"kind", kind}});
    };
    recall("text", info.recall_text);
    recall("image", info.recall_image);
  }
  out.Add("imagesearch_version", "Newest version", MetricType::Gauge,
          static_cast<double>(database.version()));
  if (const auto* reader = dynamic_cast<const index::Follower*>(&database)) {
    out.Add("imagesearch_staleness_seconds",
            "Of a reader: age of the state that reads see, at most", MetricType::Gauge,
            absl::ToDoubleSeconds(reader->staleness()));
  }
  out.Add("imagesearch_write_healthy", "1 while writes can be served", MetricType::Gauge,
          database.WriteHealth().ok() ? 1 : 0);
}

void AddStore(const index::DatabaseStats& stats, Families& out) {
  const auto gauge = [&out](const char* name, const char* help, double value, Labels labels = {}) {
    out.Add(name, help, MetricType::Gauge, value, std::move(labels));
  };
  for (const auto& snapshot : stats.snapshots) {
    gauge("imagesearch_snapshot_time_seconds",
          "When the newest index snapshot was written, seconds since 1970",
          static_cast<double>(absl::ToUnixSeconds(snapshot.time)),
          {{"collection", snapshot.collection}});
  }
  const index::StoreStats& store = stats.store;
  const auto part = [&](const char* name, uint64_t bytes) {
    gauge("imagesearch_store_memory_bytes", "Memory of RocksDB, about", static_cast<double>(bytes),
          {{"part", name}});
  };
  part("memtables", store.memtable_bytes);
  part("block_cache", store.block_cache_bytes);
  part("table_readers", store.table_reader_bytes);
  gauge("imagesearch_store_pending_compaction_bytes", "Bytes that compaction has to rewrite",
        static_cast<double>(store.pending_compaction_bytes));
  gauge("imagesearch_store_delayed_write_rate",
        "Bytes a second to which RocksDB slows writes; 0: not slowed",
        static_cast<double>(store.delayed_write_rate));
  gauge("imagesearch_store_writes_stopped", "1 while RocksDB stops writes to catch up",
        store.writes_stopped ? 1 : 0);
  const auto stalls = [&](const char* kind, uint64_t count) {
    out.Add("imagesearch_store_stalls_total", "How often RocksDB began to slow or stop writes",
            MetricType::Counter, static_cast<double>(count), {{"kind", kind}});
  };
  stalls("slowed", store.slowdowns);
  stalls("stopped", store.stops);
}

void AddProcess(Families& out) {
  std::ifstream statm("/proc/self/statm");
  uint64_t total = 0, resident = 0;
  if (statm >> total >> resident) {
    out.Add("process_resident_memory_bytes", "Resident memory", MetricType::Gauge,
            static_cast<double>(resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE))));
  }
  int descriptors = 0;
  if (DIR* folder = opendir("/proc/self/fd")) {
    while (readdir(folder) != nullptr) ++descriptors;
    closedir(folder);
    out.Add("process_open_fds", "Open file descriptors", MetricType::Gauge,
            descriptors - 3);  // without ".", ".." and the folder itself
  }
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    out.Add("process_max_fds", "Descriptors that the process may open", MetricType::Gauge,
            static_cast<double>(limit.rlim_cur));
  }
  rusage usage;
  if (getrusage(RUSAGE_SELF, &usage) == 0) {
    const auto seconds = [](const timeval& time) {
      return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_usec) / 1e6;
    };
    out.Add("process_cpu_seconds_total", "Processor time", MetricType::Counter,
            seconds(usage.ru_utime) + seconds(usage.ru_stime));
  }
  int threads = 0;
  if (DIR* folder = opendir("/proc/self/task")) {
    while (readdir(folder) != nullptr) ++threads;
    closedir(folder);
    out.Add("process_threads", "Threads", MetricType::Gauge, threads - 2);
  }
}

class BackendMetrics : public prometheus::Collectable {
 public:
  explicit BackendMetrics(const Backend& backend)
      : models_(backend.models), database_(backend.database) {}

  std::vector<MetricFamily> Collect() const override {
    Families out;
    for (const Models::ModelPtr& model : models_->List()) {
      out.SetModel(model == models_->Default() ? "" : model->info().id);
      if (model->batching != nullptr) AddEncoder(model->batching->stats(), out);
      out.Add("imagesearch_model_memory_bytes", "Memory of the model's weights", MetricType::Gauge,
              static_cast<double>(model->info().memory_bytes));
    }
    out.SetModel("");
    AddCollections(*database_, out);
    if (const auto stats = database_->Stats()) AddStore(*stats, out);
    AddProcess(out);
    return out.Take();
  }

 private:
  const std::shared_ptr<Models> models_;
  const std::shared_ptr<index::Database> database_;
};

}  // namespace

std::shared_ptr<prometheus::Collectable> MakeBackendMetrics(const Backend& backend) {
  return std::make_shared<BackendMetrics>(backend);
}

}  // namespace imagesearch::server
