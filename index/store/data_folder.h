// The outside of a data folder: its format number, readable before anything in it is opened.
#ifndef IMAGESEARCH_INDEX_STORE_DATA_FOLDER_H_
#define IMAGESEARCH_INDEX_STORE_DATA_FOLDER_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "rocksdb/env.h"

namespace imagesearch::index {

// The format that this release writes. Older ones are read; docs/formats.md has the history.
inline constexpr int kDataFormat = 1;

// Makes the folder with its FORMAT file when it is new. FAILED_PRECONDITION NEWER_FORMAT when a
// newer release wrote it, or where the folder holds other things.
absl::Status PrepareDataFolder(rocksdb::Env* env, const std::string& data_dir);

// Writes a small file so that after a crash it is there wholly or not at all.
absl::Status WriteFileAtomically(rocksdb::Env* env, const std::string& path,
                                 absl::string_view content);

// Syncs the folder that holds `path`, so that its entry survives a power loss.
absl::Status SyncParent(rocksdb::Env* env, const std::string& path);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_DATA_FOLDER_H_
