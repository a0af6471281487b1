#include "index/store/rocks_store.h"

#include <fcntl.h>
#include <sys/random.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/store/crash_point.h"
#include "index/store/data_folder.h"
#include "index/store/keys.h"
#include "index/store/rocks_options.h"
#include "index/store/rocks_status.h"
#include "rocksdb/utilities/checkpoint.h"

namespace imagesearch::index {
namespace {

absl::StatusOr<std::string> RandomId() {
  unsigned char random[16];
  if (getrandom(random, sizeof(random), 0) != sizeof(random)) {
    return Error(absl::StatusCode::kUnavailable, "STORE_IO", "no random bytes from the system");
  }
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(random), sizeof(random)));
}

}  // namespace

absl::Status RocksStore::Range::status() const {
  return FromRocks(iterator_->status(), "scanning the store");
}

absl::StatusOr<std::unique_ptr<RocksStore>> RocksStore::Open(const StoreOptions& options) {
  std::unique_ptr<RocksStore> store(new RocksStore(options));
  absl::Status status = PrepareDataFolder(options.env, options.data_dir);
  if (status.ok()) status = store->OpenDatabase();
  if (!status.ok()) return status;
  return store;
}

absl::Status RocksStore::OpenDatabase() {
  const std::string path = options_.data_dir + "/db";
  const std::string acked_path = options_.data_dir + "/ACKED";
  auto acked = AckedLog::Read(options_.env, acked_path);
  if (!acked.ok()) return acked.status();
  absl::Status status = CheckAcknowledged(*acked);
  if (!status.ok()) return status;

  std::vector<rocksdb::ColumnFamilyHandle*> handles;
  rocksdb::DB* db = nullptr;
  rocksdb::Status opened =
      rocksdb::DB::Open(MakeDbOptions(options_.env, options_.disk_reserve_bytes), path,
                        MakeFamilies(), &handles, &db);
  if (!opened.ok()) {
    if (opened.IsIOError() && absl::StrContains(opened.ToString(), "/LOCK")) {
      return Error(
          absl::StatusCode::kUnavailable, "DATA_DIR_LOCKED",
          absl::StrCat("another process uses ", options_.data_dir, ": ", opened.ToString()));
    }
    return FromRocks(opened, "opening " + path);
  }
  db_.reset(db);
  std::copy(handles.begin(), handles.end(), handles_.begin());
  status = LoadIdentity();
  if (!status.ok()) return status;
  if (recovered_version_ < acked->version) {
    return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                 absl::StrCat("the store ends at version ", recovered_version_, ", but version ",
                              acked->version, " was acknowledged"));
  }
  auto log = AckedLog::Create(options_.env, acked_path, recovered_version_);
  if (!log.ok()) return log.status();
  acked_ = *std::move(log);
  committed_version_ = recovered_version_;
  return absl::OkStatus();
}

// Opening for writing replays the log, cuts off what is damaged and deletes the rest, so damage is
// looked for first, by an open that changes nothing.
absl::Status RocksStore::CheckAcknowledged(const AckedLog::Note& acked) {
  if (acked.clean || acked.version == 0) return absl::OkStatus();
  const std::string path = options_.data_dir + "/db";
  const absl::StatusOr<uint64_t> version = VersionOf(options_.env, path);
  if (!version.ok()) return version.status();
  if (*version >= acked.version) return absl::OkStatus();
  return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
               absl::StrCat("the log in ", path, " is damaged: it ends at version ", *version,
                            ", but version ", acked.version,
                            " was acknowledged. Nothing was changed. Restore a backup, or remove ",
                            options_.data_dir, "/ACKED to go on without the versions between"));
}

absl::Status RocksStore::LoadIdentity() {
  std::string value;
  rocksdb::Status got = db_->Get(rocksdb::ReadOptions(), kVersionKey, &value);
  if (got.ok()) {
    if (value.size() != 8) {
      return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT", "the version record is damaged");
    }
    recovered_version_ = ReadBigEndian<uint64_t>(value);
    rocksdb::Status read = db_->Get(rocksdb::ReadOptions(), kTimelineKey, &timeline_);
    if (!read.ok() && !read.IsNotFound()) return FromRocks(read, "reading the timeline");
    return FromRocks(db_->Get(rocksdb::ReadOptions(), kInstanceKey, &instance_id_),
                     "reading the instance id");
  }
  if (!got.IsNotFound()) return FromRocks(got, "reading the version");
  // New. Version 1 is the empty store.
  auto random = RandomId();
  if (!random.ok()) return random.status();
  instance_id_ = *std::move(random);
  recovered_version_ = 1;
  rocksdb::WriteBatch batch;
  batch.Put(kInstanceKey, instance_id_);
  batch.Put(kVersionKey, ChangeKey(recovered_version_));
  rocksdb::WriteOptions synced;
  synced.sync = true;
  return FromRocks(db_->Write(synced, &batch), "writing the identity");
}

absl::StatusOr<uint64_t> RocksStore::VersionOf(rocksdb::Env* env, const std::string& folder) {
  rocksdb::DB* db = nullptr;
  rocksdb::DBOptions options = MakeDbOptions(env, 0);
  options.create_if_missing = false;
  options.create_missing_column_families = false;
  options.info_log = std::make_shared<NoLog>();
  rocksdb::Status opened = rocksdb::DB::OpenForReadOnly(rocksdb::Options(options, {}), folder, &db);
  if (!opened.ok()) return FromRocks(opened, "checking " + folder);
  std::unique_ptr<rocksdb::DB> owner(db);
  std::string value;
  rocksdb::Status got = db->Get(rocksdb::ReadOptions(), kVersionKey, &value);
  return got.ok() && value.size() == 8 ? ReadBigEndian<uint64_t>(value) : uint64_t{0};
}

absl::Status RocksStore::Checkpoint(const std::string& folder) const {
  rocksdb::Checkpoint* made = nullptr;
  rocksdb::Status status = rocksdb::Checkpoint::Create(db_.get(), &made);
  const std::unique_ptr<rocksdb::Checkpoint> checkpoint(made);
  if (status.ok()) status = checkpoint->CreateCheckpoint(folder);
  return FromRocks(status, "making the checkpoint " + folder);
}

absl::Status RocksStore::CompactCollection(uint32_t collection, const JobControl& control) const {
  const std::string from = CollectionPrefix(collection), to = CollectionPrefix(collection + 1);
  const rocksdb::Slice begin(from), end(to);
  std::atomic<bool> never{false};
  rocksdb::CompactRangeOptions options;
  options.exclusive_manual_compaction = false;
  options.bottommost_level_compaction = rocksdb::BottommostLevelCompaction::kForceOptimized;
  // RocksDB only reads it.
  options.canceled = control.cancelled != nullptr
                         ? const_cast<std::atomic<bool>*>(control.cancelled.get())
                         : &never;
  for (Family family : {Family::kItems, Family::kVectors, Family::kOriginals, Family::kFields}) {
    rocksdb::Status status = db_->CompactRange(options, handle(family), &begin, &end);
    CrashPoint("compact.family_done");
    if (control.IsCancelled()) return JobCancelled();
    if (!status.ok()) return FromRocks(status, "compacting the store");
  }
  return absl::OkStatus();
}

absl::Status RocksStore::StartTimeline() {
  auto random = RandomId();
  if (!random.ok()) return random.status();
  rocksdb::WriteOptions synced;
  synced.sync = true;
  absl::Status status = FromRocks(db_->Put(synced, kTimelineKey, *random), "writing the timeline");
  if (status.ok()) timeline_ = *std::move(random);
  return status;
}

RocksStore::~RocksStore() {
  if (db_ == nullptr || closed_) return;
  for (rocksdb::ColumnFamilyHandle* handle : handles_) {
    if (handle != nullptr) db_->DestroyColumnFamilyHandle(handle);
  }
}

absl::Status RocksStore::CheckDiskSpace(uint64_t bytes) const {
  uint64_t free_bytes = 0;
  // A file system that can't tell (a test's) has no reserve to keep.
  if (!options_.env->GetFreeSpace(options_.data_dir, &free_bytes).ok()) return absl::OkStatus();
  if (free_bytes < options_.disk_reserve_bytes + bytes) {
    return Error(absl::StatusCode::kResourceExhausted, "DISK_FULL",
                 absl::StrCat(free_bytes >> 20, " MiB are free on the disk of ", options_.data_dir,
                              "; writes stop below ", options_.disk_reserve_bytes >> 20,
                              " MiB. Reads go on"));
  }
  return absl::OkStatus();
}

absl::Status RocksStore::Commit(rocksdb::WriteBatch* batch, uint64_t version) {
  {
    MutexLock lock(&mutex_);
    if (!failed_.ok()) return failed_;
  }
  absl::Status status = CheckDiskSpace(0);
  if (!status.ok()) return status;
  rocksdb::WriteOptions synced;
  synced.sync = true;
  status = FromRocks(db_->Write(synced, batch), "writing to the store");
  if (status.ok()) status = acked_->Append({version, false});
  if (status.ok()) {
    committed_version_ = version;
  } else {
    MutexLock lock(&mutex_);
    failed_ = status;
  }
  return status;
}

absl::Status RocksStore::health() const {
  {
    MutexLock lock(&mutex_);
    if (!failed_.ok()) return failed_;
  }
  return CheckDiskSpace(0);
}

bool RocksStore::has_failed() const {
  MutexLock lock(&mutex_);
  return !failed_.ok();
}

absl::Status RocksStore::TrimChanges(uint64_t version) {
  return FromRocks(db_->DeleteRange(rocksdb::WriteOptions(), handle(Family::kChanges), ChangeKey(0),
                                    ChangeKey(version)),
                   "trimming change records");
}

absl::Status RocksStore::Get(Family family, const std::string& key, const StoreSnapshot& snapshot,
                             std::string* value) const {
  rocksdb::ReadOptions read;
  read.snapshot = snapshot.get();
  return FromRocks(db_->Get(read, handle(family), key, value), "reading the store");
}

RocksStore::Range RocksStore::Scan(Family family, const std::string& from, std::string to,
                                   const StoreSnapshot& snapshot, bool sequential) const {
  Range range;
  range.to_ = std::make_unique<std::string>(std::move(to));
  range.bound_ = std::make_unique<rocksdb::Slice>(*range.to_);
  rocksdb::ReadOptions read;
  read.snapshot = snapshot.get();
  if (sequential) {
    read.readahead_size = 2 << 20;
    read.fill_cache = false;
  }
  read.total_order_seek = true;
  read.iterate_upper_bound = range.bound_.get();
  range.iterator_.reset(db_->NewIterator(read, handle(family)));
  range.iterator_->Seek(from);
  return range;
}

StoreSnapshot RocksStore::Snapshot() const {
  if (secondary_) return nullptr;
  rocksdb::DB* db = db_.get();
  return StoreSnapshot(db->GetSnapshot(),
                       [db](const rocksdb::Snapshot* snapshot) { db->ReleaseSnapshot(snapshot); });
}

uint64_t RocksStore::CollectionBytes(uint32_t collection) const {
  const std::string from = CollectionPrefix(collection), to = CollectionPrefix(collection + 1);
  uint64_t total = 0;
  rocksdb::Range range(from, to);
  for (Family family : {Family::kItems, Family::kVectors, Family::kOriginals, Family::kFields}) {
    uint64_t bytes = 0;
    rocksdb::SizeApproximationOptions approximation;
    approximation.include_memtables = true;
    approximation.include_files = true;
    if (db_->GetApproximateSizes(approximation, handle(family), &range, 1, &bytes).ok()) {
      total += bytes;
    }
  }
  return total;
}

StoreStats RocksStore::Stats() const {
  using Properties = rocksdb::DB::Properties;
  const auto of_all = [this](const std::string& property) {
    uint64_t value = 0;
    db_->GetAggregatedIntProperty(property, &value);
    return value;
  };
  // Of the database, or of the cache that all families share.
  const auto of_one = [this](const std::string& property) {
    uint64_t value = 0;
    db_->GetIntProperty(property, &value);
    return value;
  };
  StoreStats stats;
  stats.memtable_bytes = of_all(Properties::kSizeAllMemTables);
  stats.table_reader_bytes = of_all(Properties::kEstimateTableReadersMem);
  stats.pending_compaction_bytes = of_all(Properties::kEstimatePendingCompactionBytes);
  stats.block_cache_bytes = of_one(Properties::kBlockCacheUsage);
  stats.delayed_write_rate = of_one(Properties::kActualDelayedWriteRate);
  stats.writes_stopped = of_one(Properties::kIsWriteStopped) > 0;
  for (rocksdb::ColumnFamilyHandle* handle : handles_) {
    std::map<std::string, std::string> family;
    db_->GetMapProperty(handle, Properties::kCFStats, &family);
    const auto count = [&family](const char* name) {
      return std::strtoull(family[name].c_str(), nullptr, 10);
    };
    stats.slowdowns += count("io_stalls.total_slowdown");
    stats.stops += count("io_stalls.total_stop");
  }
  return stats;
}

absl::Status RocksStore::Close() {
  if (closed_) return absl::OkStatus();
  absl::Status status = secondary_ ? absl::OkStatus() : health();
  const bool writable = !secondary_ && (status.ok() || absl::IsResourceExhausted(status));
  if (writable) {
    std::vector<rocksdb::ColumnFamilyHandle*> handles(handles_.begin(), handles_.end());
    status = FromRocks(db_->Flush(rocksdb::FlushOptions(), handles), "flushing the store");
    if (status.ok()) status = acked_->Append({committed_version_, true});
  }
  for (rocksdb::ColumnFamilyHandle* handle : handles_) db_->DestroyColumnFamilyHandle(handle);
  closed_ = true;
  absl::Status closed = FromRocks(db_->Close(), "closing the store");
  if (status.ok()) status = closed;
  return status;
}

}  // namespace imagesearch::index
