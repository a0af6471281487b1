// Backups: a folder with a consistent copy of a data folder, and a manifest that can tell whether
// every byte of it is as it was written. Layout in docs/formats.md.
#ifndef IMAGESEARCH_INDEX_STORE_BACKUP_H_
#define IMAGESEARCH_INDEX_STORE_BACKUP_H_

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "index/database.h"
#include "index/store/collection_state.h"
#include "index/store/engine.h"

namespace imagesearch::index {

// Written last: a folder without it is no backup.
inline constexpr char kBackupManifest[] = "BACKUP";

// See Database::CreateBackup. The caller holds a Pass of the engine's gate; `collections` are those
// that exist now: one made later is in the backup or not, without index files.
absl::StatusOr<BackupInfo> WriteBackup(
    const Engine& engine, const std::vector<std::shared_ptr<CollectionState>>& collections,
    const std::string& folder, const JobControl& control);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_BACKUP_H_
