// Two threads: one follows the change records, the other loads the segments that the writer builds.
#include "index/reader_database.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/mutex.h"
#include "index/catalog.h"
#include "index/embedded_collection.h"
#include "index/store/acked_log.h"
#include "index/store/change_reader.h"
#include "index/store/engine.h"
#include "index/store/recovery.h"
#include "index/store/segment_builder.h"
#include "index/store/snapshot.h"

namespace imagesearch::index {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kAdoptNiceness = 10;
constexpr std::chrono::milliseconds kRetry(5);
constexpr std::chrono::milliseconds kWaitForWriter(200);
constexpr std::chrono::milliseconds kAdoptInterval(500);
// Calls inside the gate are waited for this long at first, twice as long each time after.
constexpr std::chrono::milliseconds kPatience(20);
// Files that the writer removed, and memtables it has flushed, are let go of at least this often.
constexpr std::chrono::seconds kIdleCatchUp(5);
// What the writer has acknowledged is waited for this long before a collection is called unknown.
constexpr absl::Duration kLatestCollection = absl::Seconds(2);
constexpr int kAttempts = 20;
constexpr int kTailAttempts = 3;  // then the store is opened anew
// More change records than this at once cost more than loading everything.
constexpr uint64_t kMostChanges = 50'000;

absl::Status ReadOnly() {
  return Error(absl::StatusCode::kFailedPrecondition, "READ_ONLY",
               "this is a reader: writes go to the writer of the data folder");
}

class ReaderDatabase : public Database, public Follower {
 public:
  explicit ReaderDatabase(ReaderOptions options)
      : options_(std::move(options)),
        engine_(std::make_shared<Engine>(options_.embedded, /*reader=*/true)),
        catalog_(engine_) {}
  ~ReaderDatabase() override { Close(absl::InfinitePast()).IgnoreError(); }

  absl::Status Open();

  absl::StatusOr<uint64_t> CreateCollection(const CollectionOptions&) override {
    return ReadOnly();
  }
  absl::StatusOr<std::shared_ptr<Collection>> GetCollection(const std::string& name) override;
  std::vector<std::shared_ptr<Collection>> ListCollections() override;
  absl::StatusOr<uint64_t> DeleteCollection(const std::string&) override { return ReadOnly(); }
  absl::StatusOr<uint64_t> UpdateCollection(const std::string&, const CollectionUpdate&) override {
    return ReadOnly();
  }
  absl::StatusOr<uint64_t> SetAlias(const std::string&, const std::string&) override {
    return ReadOnly();
  }
  absl::StatusOr<uint64_t> DeleteAlias(const std::string&) override { return ReadOnly(); }
  std::vector<Alias> ListAliases() override { return catalog_.Aliases(); }

  uint64_t version() const override { return engine_->commit.version(); }
  absl::Status WaitForVersion(uint64_t version, absl::Time deadline) override {
    return engine_->commit.WaitForVersion(version, deadline);
  }
  const std::string& instance_id() const override { return instance_id_; }
  absl::Duration staleness() const override {
    return absl::Nanoseconds(Clock::now().time_since_epoch().count() - fresh_nanos_.load());
  }
  absl::Status WriteHealth() const override;
  absl::Status Close(absl::Time snapshot_deadline) override;

 private:
  StoreOptions MakeStoreOptions() const;
  // True: it is time to stop.
  bool Pause(std::chrono::milliseconds pause);
  void Progress(const std::string& what) const {
    if (engine_->options.on_progress) engine_->options.on_progress(what);
  }

  void Follow();
  // The newest version that the writer has acknowledged; 0 when its note can't be read just now.
  uint64_t Acknowledged() const;
  // Takes over what the writer has written, up to `acknowledged` at least; the state is as of `now`
  // then.
  absl::Status CatchUp(Clock::time_point now, uint64_t acknowledged);
  // The gate is paused in these. Opens the store anew and returns the version that it is at.
  absl::StatusOr<uint64_t> OpenStore();
  // Applies versions up to `to`, at which the store stands.
  absl::Status Apply(uint64_t to);
  // Opens the store anew and loads every collection.
  absl::Status Reload();

  void Adopt();
  void AdoptNewest(EmbeddedCollection* collection, std::string* seen);

  const ReaderOptions options_;
  const std::shared_ptr<Engine> engine_;
  Catalog catalog_;
  std::string instance_id_;              // constant after Open
  std::atomic<int64_t> fresh_nanos_{0};  // on the steady clock: the state is this fresh

  // Held while the store is replaced, and by the adopter while it reads files: calls are kept away
  // from a replacement by the gate.
  Mutex store_mutex_ ABSL_ACQUIRED_BEFORE(mutex_);
  mutable Mutex mutex_;
  CondVar stop_changed_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;

  // The following thread's.
  std::chrono::milliseconds patience_ = kPatience;
  bool reload_ = false;  // what is in memory does not fit the store any more
  uint64_t lost_ = 0;    // acknowledged, it is said, but in no file
  Clock::time_point caught_up_;
  std::thread follower_;
  std::thread adopter_;
};

StoreOptions ReaderDatabase::MakeStoreOptions() const {
  StoreOptions store;
  store.data_dir = engine_->options.data_dir;
  store.env = engine_->options.env != nullptr ? engine_->options.env : rocksdb::Env::Default();
  return store;
}

absl::Status ReaderDatabase::Open() {
  int failures = 0;
  for (bool told = false;; std::this_thread::sleep_for(kWaitForWriter)) {
    const auto now = Clock::now();
    absl::Status status = Reload();
    if (status.ok()) {
      fresh_nanos_.store(now.time_since_epoch().count());
      break;
    }
    if (options_.cancelled != nullptr && options_.cancelled->load()) {
      return absl::CancelledError("stopped while waiting for the writer");
    }
    // Whatever it is may be half a step of the writer's; what stays is real.
    if (!absl::IsNotFound(status) && !absl::IsUnavailable(status) && ++failures == kAttempts) {
      return status;
    }
    if (!std::exchange(told, true)) {
      Progress(absl::StrCat("waiting for the writer: ", std::string(status.message())));
    }
  }
  instance_id_ = engine_->store->timeline();
  follower_ = std::thread([this] { Follow(); });
  adopter_ = std::thread([this] { Adopt(); });
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<Collection>> ReaderDatabase::GetCollection(const std::string& name) {
  std::shared_ptr<EmbeddedCollection> collection = catalog_.Find(name);
  if (collection == nullptr) {
    // It may have been made a moment ago, and the caller may have the writer's word for it.
    const uint64_t acknowledged = Acknowledged();
    absl::Status caught_up =
        engine_->commit.WaitForVersion(acknowledged, absl::Now() + kLatestCollection);
    collection = catalog_.Find(name);
    if (collection == nullptr && caught_up.ok()) return NoSuchCollection(name);
    if (collection == nullptr) {
      return WithRetryAfter(
          Error(absl::StatusCode::kUnavailable, "STALE",
                absl::StrCat("no collection '", name,
                             "' is known here, and the writer's latest changes could not be "
                             "followed yet")),
          absl::Milliseconds(200));
    }
  }
  return std::shared_ptr<Collection>(std::move(collection));
}

std::vector<std::shared_ptr<Collection>> ReaderDatabase::ListCollections() {
  const auto all = catalog_.Serving();
  return {all.begin(), all.end()};
}

absl::Status ReaderDatabase::WriteHealth() const {
  const absl::Duration age = staleness();
  if (age <= options_.max_staleness) return absl::OkStatus();
  return Error(absl::StatusCode::kUnavailable, "STALE",
               absl::StrCat("the writer's changes could not be followed for ",
                            absl::FormatDuration(absl::Trunc(age, absl::Milliseconds(1)))));
}

bool ReaderDatabase::Pause(std::chrono::milliseconds pause) {
  const auto until = CondVar::Clock::now() + pause;
  MutexLock lock(&mutex_);
  while (!stop_ && stop_changed_.WaitUntil(&mutex_, until)) {
  }
  return stop_;
}

void ReaderDatabase::Follow() {
  auto swept = Clock::now();
  std::string problem;
  while (!Pause(absl::ToChronoMilliseconds(options_.poll))) {
    const auto now = Clock::now();
    absl::Status status;
    const uint64_t acknowledged = Acknowledged();
    if (reload_ || acknowledged != engine_->commit.version() || now - caught_up_ >= kIdleCatchUp) {
      status = CatchUp(now, acknowledged);
    } else {
      fresh_nanos_.store(now.time_since_epoch().count());
    }
    if (!status.ok() && problem != status.message()) {
      problem = std::string(status.message());
      Progress(absl::StrCat("following the writer: ", problem));
    }
    if (reload_ || now - swept < std::chrono::seconds(1)) continue;
    swept = now;
    for (const auto& collection : catalog_.All()) {
      collection->state()->HideExpired(engine_->NowMicros());
      collection->state()->TakeExpired();  // the writer deletes them
      collection->ProbeRecall();
    }
  }
}

uint64_t ReaderDatabase::Acknowledged() const {
  const StoreOptions store = MakeStoreOptions();
  auto acked = AckedLog::Read(store.env, store.data_dir + "/ACKED");
  return acked.ok() ? acked->version : 0;
}

absl::Status ReaderDatabase::CatchUp(Clock::time_point now, uint64_t acknowledged) {
  if (!engine_->gate.TryPause(patience_)) {
    patience_ *= 2;
    return absl::OkStatus();
  }
  patience_ = kPatience;
  absl::Status status;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (attempt > 0) std::this_thread::sleep_for(kRetry);
    if (reload_) {
      status = Reload();
      // Not even there: the writer's store has lost it, as the writer will say.
      if (status.ok() && engine_->commit.version() < acknowledged) lost_ = acknowledged;
      if (status.ok()) break;
      continue;
    }
    // A log that the writer removed before it was read leaves a hole, until the table that took its
    // place is seen; RocksDB's tailing of the manifest does not always get there, opening does.
    const bool opens = engine_->store == nullptr || attempt >= kTailAttempts;
    const absl::StatusOr<uint64_t> to = opens ? OpenStore() : engine_->store->CatchUp();
    status = to.ok() ? Apply(*to) : to.status();
    if (status.ok() && *to < acknowledged && acknowledged != lost_) {
      status = Error(absl::StatusCode::kUnavailable, "STORE_MOVING",
                     absl::StrCat("version ", acknowledged, " is not in the log yet, only ", *to));
    }
    if (status.ok()) break;
    // A hole that stays is real: those records are dropped.
    const bool gap = to.ok() && opens && absl::IsOutOfRange(status);
    if (gap || attempt == kAttempts / 2) reload_ = true;
  }
  if (!status.ok()) return status;  // calls wait, and are refused after a while
  fresh_nanos_.store(now.time_since_epoch().count());
  caught_up_ = now;
  engine_->gate.Open();
  return absl::OkStatus();
}

absl::Status ReaderDatabase::Apply(uint64_t to) {
  const uint64_t from = engine_->commit.version();
  if (to == from) return absl::OkStatus();
  if (to < from || to - from > kMostChanges) {
    return absl::OutOfRangeError(absl::StrCat("from version ", from, " to ", to));
  }
  std::map<uint32_t, Catalog::CollectionPtr> known;
  for (const auto& collection : catalog_.All()) known[collection->state()->id] = collection;
  auto changes = ReadChanges(*engine_->store, from, to, [&known](uint32_t id) {
    auto found = known.find(id);
    return found == known.end() ? 0 : found->second->options().dimension;
  });
  if (!changes.ok()) return changes.status();
  for (auto& [id, of_collection] : changes->collections) {
    if (of_collection.incomplete) {
      return absl::OutOfRangeError("change records of an older release");
    }
  }
  for (auto& [id, of_collection] : changes->collections) {
    known.at(id)->state()->Apply(std::move(of_collection.changes), of_collection.version, nullptr);
  }
  if (changes->catalog) {
    absl::Status status = catalog_.Refresh();
    if (!status.ok()) {
      reload_ = true;  // half of the range is applied
      return status;
    }
  }
  engine_->commit.Advance(to);
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> ReaderDatabase::OpenStore() {
  MutexLock lock(&store_mutex_);
  if (engine_->store != nullptr) engine_->store->Close().IgnoreError();
  engine_->store = nullptr;
  auto store = RocksStore::OpenSecondary(MakeStoreOptions());
  if (!store.ok()) return store.status();
  // What was removed while it was opened shows in the second look; then only what came since can
  // have a hole.
  const uint64_t first = (*store)->recovered_version();
  absl::StatusOr<uint64_t> version = (*store)->CatchUp();
  if (!version.ok()) return version.status();
  absl::Status whole = ReadChanges(**store, first, *version, [](uint32_t) { return 0; }).status();
  if (absl::IsOutOfRange(whole)) return absl::AbortedError(whole.message());
  if (!whole.ok()) return whole;
  if (!instance_id_.empty() && (*store)->timeline() != instance_id_) {
    return Error(absl::StatusCode::kFailedPrecondition, "OTHER_FOLDER",
                 "another data folder has taken the place of this one: restart the reader");
  }
  engine_->store = *std::move(store);
  return version;
}

absl::Status ReaderDatabase::Reload() {
  reload_ = true;
  catalog_.Unload();
  absl::StatusOr<uint64_t> version = OpenStore();
  if (!version.ok()) return version.status();
  MutexLock lock(&store_mutex_);
  absl::Status status = catalog_.Load();
  if (!status.ok()) {
    catalog_.Unload();
    return status;
  }
  engine_->commit.Advance(*version);
  reload_ = false;
  return absl::OkStatus();
}

void ReaderDatabase::Adopt() {
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kAdoptNiceness);
  std::map<uint32_t, std::string> seen;
  while (!Pause(kAdoptInterval)) {
    for (const auto& collection : catalog_.All()) {
      AdoptNewest(collection.get(), &seen[collection->state()->id]);
    }
  }
}

void ReaderDatabase::AdoptNewest(EmbeddedCollection* collection, std::string* seen) {
  MutexLock lock(&store_mutex_);
  if (engine_->store == nullptr) return;
  CollectionState& state = *collection->state();
  const std::string newest = NewestSnapshotName(*engine_, state.id);
  if (newest.empty() || newest == *seen) return;
  std::vector<std::string> problems;
  const auto snapshots = ReadSnapshots(*engine_, state, &problems);
  const std::shared_ptr<const View> view = state.view();
  // Segments of writes that are not here yet have to wait.
  if (snapshots.empty() || snapshots[0].version() > view->version) return;
  std::map<std::string, std::shared_ptr<const Segment>> in_use;
  for (const SegmentPart& part : view->segments) in_use[part.segment->name()] = part.segment;
  std::vector<std::shared_ptr<const Segment>> segments;
  size_t loaded = 0;
  for (const std::string& name : snapshots[0].segments()) {
    auto found = in_use.find(name);
    if (found != in_use.end()) {
      segments.push_back(found->second);
      continue;
    }
    auto segment = ReadSegment(*engine_, state, name);
    if (!segment.ok()) {
      // Removed meanwhile: a newer snapshot comes. Damaged: the rows are served from the tail.
      if (absl::IsDataLoss(segment.status())) *seen = newest;
      return;
    }
    segments.push_back(*std::move(segment));
    ++loaded;
  }
  if (loaded > 0 || segments.size() != in_use.size()) state.AdoptSegments(segments);
  *seen = newest;
}

absl::Status ReaderDatabase::Close(absl::Time) {
  {
    MutexLock lock(&mutex_);
    stop_ = true;
    stop_changed_.SignalAll();
  }
  engine_->cancelled->store(true);
  if (follower_.joinable()) follower_.join();
  if (adopter_.joinable()) adopter_.join();
  if (!engine_->gate.Close() || engine_->store == nullptr) return absl::OkStatus();
  catalog_.Unload();
  return engine_->store->Close();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Database>> OpenReader(const ReaderOptions& options) {
  auto database = std::make_unique<ReaderDatabase>(options);
  absl::Status status = database->Open();
  if (!status.ok()) return status;
  return std::unique_ptr<Database>(std::move(database));
}

}  // namespace imagesearch::index
