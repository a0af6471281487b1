// The database inside one process: RocksDB holds the truth, FAISS answers nearest-neighbour
// queries.
#ifndef IMAGESEARCH_INDEX_EMBEDDED_DATABASE_H_
#define IMAGESEARCH_INDEX_EMBEDDED_DATABASE_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/limits.h"
#include "index/database.h"

namespace rocksdb {
class Env;
}

namespace imagesearch::index {

struct EmbeddedOptions {
  std::string data_dir;   // made when missing
  int build_threads = 0;  // for background index builds; 0: one for each core
  // Rows in the exact tail that start a background merge.
  int merge_tail_rows = 4096;
  // Collections below this many rows are served by an exact scan even when their kind is HNSW or
  // IVF.
  int min_indexed_rows = 1000;
  uint64_t max_memory_bytes = 0;  // for index state, all collections; 0: no bound
  // A collection that is written to steadily has its tail merged and a snapshot written at least
  // this often; one that rests, within seconds.
  absl::Duration snapshot_interval = absl::Minutes(5);
  // Writes are refused (DISK_FULL) below this much free disk; 0: 5 % of the disk, at most 1 GiB.
  uint64_t disk_reserve_bytes = 0;
  Limits limits;
  // Unit text vectors (t, d) row-major of a collection's model, which show an index where text
  // queries lie (AnnBuildOptions); null or an empty answer: none known. Called from any thread.
  std::function<std::vector<float>(const CollectionOptions&)> text_sample;
  // Progress of recovery, for logs and GetServerInfo; may be null. Called from any thread.
  std::function<void(const std::string&)> on_progress;
  // A test's file system; null: the real one. Not owned.
  rocksdb::Env* env = nullptr;
  // A test's clock, for expiry; null: the wall clock.
  std::function<absl::Time()> clock;
};

// Opens or creates the data folder and recovers. UNAVAILABLE when another process holds it,
// FAILED_PRECONDITION when a newer release wrote it, DATA_LOSS when the truth itself is damaged.
absl::StatusOr<std::unique_ptr<Database>> OpenEmbedded(const EmbeddedOptions& options);

// Makes the data folder `data_dir`, which must be missing or empty, out of a backup that
// Database::CreateBackup wrote; every byte is checked. The server that opens it is at the backup's
// version, under a new instance id, since it goes on from there otherwise than the old one did.
// Progress is in bytes. `env` null: the real file system. NOT_FOUND NO_BACKUP, DATA_LOSS
// BACKUP_CORRUPT, FAILED_PRECONDITION FOLDER_NOT_EMPTY or NEWER_FORMAT, RESOURCE_EXHAUSTED
// DISK_FULL, CANCELLED. After a failure or a crash it can be called again.
absl::StatusOr<BackupInfo> RestoreBackup(const std::string& backup, const std::string& data_dir,
                                         const JobControl& control, rocksdb::Env* env = nullptr);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_EMBEDDED_DATABASE_H_
