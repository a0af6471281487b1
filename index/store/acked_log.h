// The newest acknowledged version, kept in a second place beside RocksDB's log.
//
// RocksDB ends its recovery quietly at the first damaged log record: after a crash that is a torn,
// unacknowledged tail, but a flipped bit in the middle looks the same and would drop acknowledged
// writes without a word. A recovered version below the one noted here tells the two apart. A note
// is made after the log's sync and before the acknowledgement, so it never promises too much. It
// is not synced each time (that would double the cost of a write): it survives kill -9, and after
// a power loss it may be up to a second old, which can only miss damage, never invent it.
#ifndef IMAGESEARCH_INDEX_STORE_ACKED_LOG_H_
#define IMAGESEARCH_INDEX_STORE_ACKED_LOG_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "rocksdb/env.h"

namespace imagesearch::index {

// Not thread-safe.
class AckedLog {
 public:
  struct Note {
    uint64_t version = 0;
    bool clean = false;  // the database was closed in order after this version
  };

  // The last whole note in the file; {0, false} when there is none.
  static absl::StatusOr<Note> Read(rocksdb::Env* env, const std::string& path);

  // Replaces the file (temporary file, sync, rename, sync of the folder) by one that starts with
  // `version`.
  static absl::StatusOr<std::unique_ptr<AckedLog>> Create(rocksdb::Env* env,
                                                          const std::string& path,
                                                          uint64_t version);

  // Appends a note; synced where a second has passed since the last sync, or where it is clean.
  absl::Status Append(const Note& note);

 private:
  AckedLog(rocksdb::Env* env, std::string path) : env_(env), path_(std::move(path)) {}
  absl::Status Rewrite(const Note& note);

  rocksdb::Env* const env_;
  const std::string path_;
  std::unique_ptr<rocksdb::WritableFile> file_;
  uint64_t size_ = 0;
  uint64_t synced_micros_ = 0;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_ACKED_LOG_H_
