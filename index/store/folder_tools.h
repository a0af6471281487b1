// Whole folders through a RocksDB Env: list, copy, read, sync, remove.
#ifndef IMAGESEARCH_INDEX_STORE_FOLDER_TOOLS_H_
#define IMAGESEARCH_INDEX_STORE_FOLDER_TOOLS_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "rocksdb/env.h"

namespace imagesearch::index {

// Names in a folder, sorted, without . and .. NOT_FOUND.
absl::StatusOr<std::vector<std::string>> ListFolder(rocksdb::Env* env, const std::string& folder);

struct TreeFile {
  std::string name;  // relative to the root: "db/000012.sst"
  uint64_t size = 0;
};
// Every file below `root`, sorted by name.
absl::StatusOr<std::vector<TreeFile>> ListTree(rocksdb::Env* env, const std::string& root);

// Gives the file to `take` in pieces of at most 1 MiB; an error of `take` ends it and is returned.
absl::Status ReadPieces(rocksdb::Env* env, const std::string& path,
                        const std::function<absl::Status(absl::string_view bytes)>& take);

// Synced.
absl::Status CopyFile(rocksdb::Env* env, const std::string& from, const std::string& to);

// Syncs `root` and every folder below it (entries, not contents).
absl::Status SyncTree(rocksdb::Env* env, const std::string& root);

// Removes `root` with all that is in it; fine when it is not there.
absl::Status RemoveTree(rocksdb::Env* env, const std::string& root);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_FOLDER_TOOLS_H_
