// The truth on disk: one RocksDB with a fixed set of column families (docs/formats.md), opened so
// that nothing acknowledged can be lost without being noticed.
#ifndef IMAGESEARCH_INDEX_STORE_ROCKS_STORE_H_
#define IMAGESEARCH_INDEX_STORE_ROCKS_STORE_H_

#include <array>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/mutex.h"
#include "index/database_stats.h"
#include "index/job_control.h"
#include "index/store/acked_log.h"
#include "rocksdb/db.h"
#include "rocksdb/env.h"

namespace imagesearch::index {

// The set is chosen once: a reader that opens the same files later can't see new families.
enum class Family { kDefault, kItems, kVectors, kChanges, kOriginals, kFields };
inline constexpr int kFamilies = 6;

struct StoreOptions {
  std::string data_dir;
  rocksdb::Env* env = nullptr;      // not null
  uint64_t disk_reserve_bytes = 0;  // writes are refused below this much free space
};

using StoreSnapshot = std::shared_ptr<const rocksdb::Snapshot>;

// Thread-safe, but for Commit and Close: one caller at a time.
class RocksStore {
 public:
  // Creates the folder when it is new. UNAVAILABLE DATA_DIR_LOCKED, FAILED_PRECONDITION
  // NEWER_FORMAT, DATA_LOSS (the log lost acknowledged writes, or a table is damaged).
  static absl::StatusOr<std::unique_ptr<RocksStore>> Open(const StoreOptions& options);

  // The same folder beside the process that writes it: nothing is written, and the state moves only
  // in CatchUp. No snapshots: Snapshot() is null, and every read sees the newest state. NOT_FOUND
  // until the writer has made the folder; UNAVAILABLE when a file went while it was opened: try
  // again.
  static absl::StatusOr<std::unique_ptr<RocksStore>> OpenSecondary(const StoreOptions& options);
  ~RocksStore();

  // Applies the batch with the log synced; then notes `version` as acknowledged. After a failure
  // nothing was acknowledged and the store takes no more writes (health() says why): a log that
  // failed to sync can't be trusted to hold what a later sync reports as written. A refusal because
  // free space is below the reserve comes before anything is written, and lifts by itself.
  absl::Status Commit(rocksdb::WriteBatch* batch, uint64_t version);

  // Of a secondary: takes over what the writer has written by now, and returns the newest version
  // of it. Nobody may read meanwhile: a half of a batch may show. A log that the writer removes at
  // the same moment leaves a hole until the next call; change_reader.h notices.
  absl::StatusOr<uint64_t> CatchUp();

  // NOT_FOUND when the key is missing. `snapshot` null: the newest state.
  absl::Status Get(Family family, const std::string& key, const StoreSnapshot& snapshot,
                   std::string* value) const;
  // Keys in [from, to) of one family.
  class Range {
   public:
    bool Valid() const { return iterator_->Valid(); }
    void Next() { iterator_->Next(); }
    absl::string_view key() const { return {iterator_->key().data(), iterator_->key().size()}; }
    absl::string_view value() const {
      return {iterator_->value().data(), iterator_->value().size()};
    }
    // To be asked when Valid() is false: the end, or an error?
    absl::Status status() const;

   private:
    friend class RocksStore;
    // On the heap: RocksDB keeps a pointer to the slice while the range moves.
    std::unique_ptr<std::string> to_;
    std::unique_ptr<rocksdb::Slice> bound_;
    std::unique_ptr<rocksdb::Iterator> iterator_;
  };
  // `sequential`: a long scan that should read ahead and leave the cache alone.
  Range Scan(Family family, const std::string& from, std::string to, const StoreSnapshot& snapshot,
             bool sequential) const;

  // Pins the state that was committed last. Must not outlive the store. Null for a secondary.
  StoreSnapshot Snapshot() const;

  rocksdb::ColumnFamilyHandle* handle(Family family) const {
    return handles_[static_cast<int>(family)];
  }
  // Bytes on disk and in memtables of a collection, about.
  uint64_t CollectionBytes(uint32_t collection) const;

  // What RocksDB tells of itself.
  StoreStats Stats() const;

  // OK while writes can be served.
  absl::Status health() const;
  // A write failed: only opening the store anew brings writes back.
  bool has_failed() const;
  // RESOURCE_EXHAUSTED DISK_FULL unless `bytes` more can be written above the reserve.
  absl::Status CheckDiskSpace(uint64_t bytes) const;
  // Makes `folder`, whose parent exists, a store of its own with the state of some version between
  // the call and the return. Files are shared by hard links where the file system allows.
  absl::Status Checkpoint(const std::string& folder) const;
  // The version of the store in `folder`, which nobody has open; changes nothing there.
  static absl::StatusOr<uint64_t> VersionOf(rocksdb::Env* env, const std::string& folder);
  // Rewrites the tables of a collection without what was deleted and overwritten. CANCELLED.
  absl::Status CompactCollection(uint32_t collection, const JobControl& control) const;
  // Gives the store a new identity towards clients: what comes after its newest version is another
  // history than the one that others may have seen. Call before anything else is written.
  absl::Status StartTimeline();

  // Drops change records below `version`. Not synced: they may come back after a crash.
  absl::Status TrimChanges(uint64_t version);
  uint64_t recovered_version() const { return recovered_version_; }
  // Made with the folder: which index files belong to it.
  const std::string& instance_id() const { return instance_id_; }
  // What clients see: versions of one timeline can be compared. The instance, until a backup of it
  // was restored.
  const std::string& timeline() const { return timeline_.empty() ? instance_id_ : timeline_; }
  const std::string& data_dir() const { return options_.data_dir; }
  rocksdb::Env* env() const { return options_.env; }

  // Writes memtables out, so that the next open has no log to replay, and closes in order.
  absl::Status Close();

 private:
  explicit RocksStore(const StoreOptions& options) : options_(options) {}
  absl::Status OpenDatabase();
  absl::Status CheckAcknowledged(const AckedLog::Note& acked);
  absl::Status LoadIdentity();

  const StoreOptions options_;
  std::unique_ptr<rocksdb::DB> db_;
  std::array<rocksdb::ColumnFamilyHandle*, kFamilies> handles_{};
  // Commit and Close only.
  std::unique_ptr<AckedLog> acked_;
  uint64_t committed_version_ = 0;

  uint64_t recovered_version_ = 0;
  std::string instance_id_;
  std::string timeline_;  // empty: that of the instance
  bool closed_ = false;
  bool secondary_ = false;  // constant after opening

  mutable Mutex mutex_;
  absl::Status failed_ ABSL_GUARDED_BY(mutex_);  // sticks until the store is opened anew
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_ROCKS_STORE_H_
