// Opens the store, keeps the set of collections, and runs the work in the background.
#include "index/embedded_database.h"

#include <sys/resource.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <map>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/mutex.h"
#include "index/catalog.h"
#include "index/embedded_collection.h"
#include "index/store/backup.h"
#include "index/store/crash_point.h"
#include "index/store/engine.h"
#include "index/store/recovery.h"
#include "index/store/snapshot.h"

namespace imagesearch::index {
namespace {

constexpr int kMergeNiceness = 10;
constexpr std::chrono::seconds kIdleAfter(3);
constexpr std::chrono::seconds kMergeRetry(5);
constexpr uint64_t kTrimRounds = 30;
// Always kept, for readers that are a little behind.
constexpr uint64_t kKeptChanges = 10'000;

// 5 % of the disk that will hold `path`, 256 MiB to 1 GiB, but never more than half of it.
uint64_t DefaultReserve(std::string path) {
  struct statvfs disk {};
  while (statvfs(path.c_str(), &disk) != 0) {
    const size_t slash = path.rfind('/');
    if (path == "." || path == "/") return 0;
    path = slash == std::string::npos ? "." : path.substr(0, std::max<size_t>(slash, 1));
  }
  const uint64_t size = uint64_t{disk.f_blocks} * disk.f_frsize;
  return std::min(std::clamp<uint64_t>(size / 20, 256 << 20, 1 << 30), size / 2);
}

class EmbeddedDatabase : public Database {
 public:
  explicit EmbeddedDatabase(EmbeddedOptions options)
      : engine_(std::make_shared<Engine>(std::move(options))), catalog_(engine_) {}
  ~EmbeddedDatabase() override { Close(absl::InfinitePast()).IgnoreError(); }

  absl::Status Open();

  absl::StatusOr<uint64_t> CreateCollection(const CollectionOptions& options) override {
    return catalog_.Create(options);
  }
  absl::StatusOr<std::shared_ptr<Collection>> GetCollection(const std::string& name) override;
  std::vector<std::shared_ptr<Collection>> ListCollections() override;
  absl::StatusOr<uint64_t> DeleteCollection(const std::string& name) override {
    return catalog_.Delete(name);
  }
  absl::StatusOr<uint64_t> UpdateCollection(const std::string& name,
                                            const CollectionUpdate& update) override {
    return catalog_.Update(name, update);
  }
  absl::StatusOr<uint64_t> SetAlias(const std::string& alias,
                                    const std::string& collection) override {
    return catalog_.SetAlias(alias, collection);
  }
  absl::StatusOr<uint64_t> DeleteAlias(const std::string& alias) override {
    return catalog_.DeleteAlias(alias);
  }
  std::vector<Alias> ListAliases() override { return catalog_.Aliases(); }
  absl::StatusOr<std::unique_ptr<Reembedding>> BeginReembed(const std::string& name,
                                                            const ModelChange& change) override {
    return catalog_.BeginReembed(name, change);
  }
  absl::Status AbandonReembed(const std::string& name) override {
    return catalog_.AbandonReembed(name);
  }
  absl::StatusOr<uint64_t> RollBackReembed(const std::string& name, bool discard_writes) override {
    return catalog_.RollBackReembed(name, discard_writes);
  }
  absl::StatusOr<uint64_t> FinishReembed(const std::string& name) override {
    return catalog_.FinishReembed(name);
  }
  std::vector<ReembedInfo> ListReembeds() override { return catalog_.ListReembeds(); }

  uint64_t version() const override { return engine_->commit.version(); }
  absl::Status WaitForVersion(uint64_t version, absl::Time deadline) override {
    return engine_->commit.WaitForVersion(version, deadline);
  }
  const std::string& instance_id() const override { return instance_id_; }
  absl::Status WriteHealth() const override;
  std::optional<DatabaseStats> Stats() override;
  absl::StatusOr<BackupInfo> CreateBackup(const std::string& folder,
                                          const JobControl& control) override;
  absl::Status Close(absl::Time snapshot_deadline) override;

 private:
  std::vector<std::shared_ptr<EmbeddedCollection>> Collections() const { return catalog_.All(); }
  // True: it is time to stop.
  bool Pause(std::chrono::milliseconds pause);
  // Opens the store and loads every collection; those that exist already are filled again.
  absl::Status Load();
  // After a failed write: brings writes back once the disk has space.
  void Reopen();
  void Sweep();
  void Merge();
  void TrimChanges();
  void Progress(const std::string& what) const {
    if (engine_->options.on_progress) engine_->options.on_progress(what);
  }

  const std::shared_ptr<Engine> engine_;
  Catalog catalog_;
  std::string instance_id_;  // constant after Open

  mutable Mutex mutex_;
  CondVar stop_changed_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<bool> reopening_{false};
  uint64_t trimmed_below_ = 0;  // the sweeper's
  std::thread sweeper_;
  std::thread merger_;
};

absl::Status EmbeddedDatabase::Open() {
  absl::Status status = Load();
  if (!status.ok()) return status;
  instance_id_ = engine_->store->timeline();
  std::vector<uint32_t> ids;
  for (const auto& collection : Collections()) ids.push_back(collection->state()->id);
  RemoveStrayFolders(*engine_, ids);
  sweeper_ = std::thread([this] { Sweep(); });
  merger_ = std::thread([this] { Merge(); });
  return absl::OkStatus();
}

absl::Status EmbeddedDatabase::Load() {
  StoreOptions store_options;
  store_options.data_dir = engine_->options.data_dir;
  store_options.env =
      engine_->options.env != nullptr ? engine_->options.env : rocksdb::Env::Default();
  store_options.disk_reserve_bytes = engine_->options.disk_reserve_bytes;
  if (store_options.disk_reserve_bytes == 0) {
    store_options.disk_reserve_bytes = DefaultReserve(store_options.data_dir);
  }
  Progress("opening the store");
  auto store = RocksStore::Open(store_options);
  if (!store.ok()) return store.status();
  engine_->store = *std::move(store);
  absl::Status status = catalog_.Load();
  if (!status.ok()) return status;
  engine_->commit.Open(engine_->store.get());
  return absl::OkStatus();
}

void EmbeddedDatabase::Reopen() {
  reopening_.store(true);
  Progress("opening the store anew after a failed write");
  engine_->cancelled->store(true);  // a merge can take minutes
  engine_->gate.Pause();
  engine_->cancelled->store(false);
  catalog_.Unload();
  if (engine_->store != nullptr) {
    engine_->store->Close().IgnoreError();  // what it could not write is in the log, or was refused
    engine_->store = nullptr;
  }
  absl::Status status = Load();
  if (!status.ok()) {
    Progress(absl::StrCat("the store could not be opened anew: ", status.ToString()));
    catalog_.Unload();
    engine_->store = nullptr;
    return;  // the next sweep tries again
  }
  reopening_.store(false);
  engine_->gate.Open();
}

absl::StatusOr<std::shared_ptr<Collection>> EmbeddedDatabase::GetCollection(
    const std::string& name) {
  std::shared_ptr<EmbeddedCollection> collection = catalog_.Find(name);
  if (collection == nullptr) return NoSuchCollection(name);
  return std::shared_ptr<Collection>(std::move(collection));
}

std::vector<std::shared_ptr<Collection>> EmbeddedDatabase::ListCollections() {
  const auto all = catalog_.Serving();
  return {all.begin(), all.end()};
}

absl::Status EmbeddedDatabase::WriteHealth() const {
  if (reopening_.load()) {
    return Error(absl::StatusCode::kUnavailable, "REOPENING",
                 "the store is being opened anew after a failed write");
  }
  Gate::Pass pass(&engine_->gate);
  return pass.status().ok() ? engine_->store->health() : pass.status();
}

std::optional<DatabaseStats> EmbeddedDatabase::Stats() {
  if (reopening_.load()) return std::nullopt;
  Gate::Pass pass(&engine_->gate);
  if (!pass.status().ok()) return std::nullopt;
  DatabaseStats stats;
  stats.store = engine_->store->Stats();
  for (const auto& collection : catalog_.Serving()) {
    const CollectionState& state = *collection->state();
    if (auto newest = NewestSnapshot(*engine_, state.id)) {
      stats.snapshots.push_back({state.options.name, newest->version, newest->time});
    }
  }
  return stats;
}

absl::StatusOr<BackupInfo> EmbeddedDatabase::CreateBackup(const std::string& folder,
                                                          const JobControl& control) {
  Gate::Pass pass(&engine_->gate);
  if (!pass.status().ok()) return pass.status();
  std::vector<std::shared_ptr<CollectionState>> states;
  for (const auto& collection : Collections()) states.push_back(collection->state());
  auto info = WriteBackup(*engine_, states, folder, control);
  return info.ok() ? std::move(info) : JobError(info.status(), control);
}

bool EmbeddedDatabase::Pause(std::chrono::milliseconds pause) {
  const auto until = CondVar::Clock::now() + pause;
  MutexLock lock(&mutex_);
  while (!stop_ && stop_changed_.WaitUntil(&mutex_, until)) {
  }
  return stop_;
}

// Reclaims expired images, probes recall, watches memory, and mends the store.
void EmbeddedDatabase::Sweep() {
  for (uint64_t round = 0; !Pause(std::chrono::seconds(1)); ++round) {
    if (engine_->store == nullptr ||
        (engine_->store->has_failed() && engine_->store->CheckDiskSpace(0).ok())) {
      Reopen();
      continue;
    }
    for (const auto& collection : Collections()) {
      collection->state()->HideExpired(engine_->NowMicros());
      // A failed write shows in WriteHealth, and the ids wait for the next round.
      collection->SweepExpired().IgnoreError();
      collection->ProbeRecall();
    }
    uint64_t memory = 0;
    for (const auto& collection : Collections()) memory += collection->state()->memory_bytes();
    engine_->memory_bytes.store(memory);
    if (round % kTrimRounds == kTrimRounds - 1) TrimChanges();
  }
}

// Change records below the older kept snapshots serve nobody: whoever needs older ones loads a
// snapshot.
void EmbeddedDatabase::TrimChanges() {
  uint64_t oldest = engine_->commit.version();
  oldest -= std::min(oldest, kKeptChanges);
  for (const auto& collection : Collections()) {
    oldest = std::min(oldest, OldestSnapshot(*engine_, collection->state()->id).value_or(oldest));
  }
  if (oldest <= trimmed_below_ || engine_->store->has_failed()) return;
  if (engine_->store->TrimChanges(oldest).ok()) trimmed_below_ = oldest;
}

// Keeps tails short while writes go on, and brings segments together when they rest.
void EmbeddedDatabase::Merge() {
  // Searches come first on a busy machine; threads that a build starts inherit this.
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kMergeNiceness);
  struct Watched {
    uint64_t version = 0;
    CondVar::Clock::time_point since;
    CondVar::Clock::time_point merged;
  };
  const auto interval = std::chrono::duration_cast<CondVar::Clock::duration>(
      absl::ToChronoMilliseconds(std::min(engine_->options.snapshot_interval, absl::Hours(1))));
  std::map<uint32_t, Watched> watched;
  while (!Pause(std::chrono::milliseconds(200))) {
    for (uint32_t id : catalog_.TakeRetired()) {
      Gate::Pass pass(&engine_->gate);
      CrashPoint("collection.before_removal");
      if (pass.status().ok()) RemoveIndexFolder(*engine_, id);
    }
    bool failed = false;
    for (const auto& collection : Collections()) {
      Gate::Pass pass(&engine_->gate);
      if (!pass.status().ok()) break;
      const auto now = CondVar::Clock::now();
      const uint64_t version = collection->state()->view()->version;
      Watched& seen = watched[collection->state()->id];
      if (seen.version != version) {
        seen.version = version;
        seen.since = now;
      }
      if (seen.merged == CondVar::Clock::time_point()) seen.merged = now;
      const MergeOccasion occasion = now - seen.since >= kIdleAfter  ? MergeOccasion::kIdle
                                     : now - seen.merged >= interval ? MergeOccasion::kInterval
                                                                     : MergeOccasion::kWriting;
      if (!collection->merger()->IsDue(occasion)) continue;
      // A merge that failed (a full disk) left everything as it was; it is tried again later.
      failed |= !collection->merger()->Run(occasion).ok();
      seen.merged = CondVar::Clock::now();
    }
    if (failed && Pause(kMergeRetry)) return;
  }
}

absl::Status EmbeddedDatabase::Close(absl::Time snapshot_deadline) {
  {
    MutexLock lock(&mutex_);
    stop_ = true;
    stop_changed_.SignalAll();
  }
  engine_->cancelled->store(true);
  if (sweeper_.joinable()) sweeper_.join();
  if (merger_.joinable()) merger_.join();
  if (!engine_->gate.Close() || engine_->store == nullptr) return absl::OkStatus();
  // Views hold RocksDB snapshots, which must go before the store does. Deleted collections that
  // somebody still points to let go of theirs when they were deleted.
  catalog_.Unload();
  return engine_->store->Close();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Database>> OpenEmbedded(const EmbeddedOptions& options) {
  auto database = std::make_unique<EmbeddedDatabase>(options);
  absl::Status status = database->Open();
  if (!status.ok()) return status;
  return std::unique_ptr<Database>(std::move(database));
}

}  // namespace imagesearch::index
