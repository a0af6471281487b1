// From a backup to a data folder. Everything is made and checked inside DATA/restoring and moved
// into place at the end, FORMAT last: a restore that is cut off leaves a folder that no start takes
// for a data folder, and that the next restore clears.
#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/embedded_database.h"
#include "index/store/backup.h"
#include "index/store/checked_file.h"
#include "index/store/crash_point.h"
#include "index/store/crc32c.h"
#include "index/store/data_folder.h"
#include "index/store/folder_tools.h"
#include "index/store/records.pb.h"
#include "index/store/rocks_status.h"
#include "index/store/rocks_store.h"

namespace imagesearch::index {
namespace {

constexpr char kDraft[] = "restoring";
// A data folder's own entries, in the order in which they are moved into place.
constexpr const char* kEntries[] = {"db", "index", "ACKED", "FORMAT"};

absl::Status BadBackup(const std::string& backup, absl::string_view what) {
  return Error(absl::StatusCode::kDataLoss, "BACKUP_CORRUPT",
               absl::StrCat("the backup ", backup, " can't be restored: ", what));
}

absl::StatusOr<records::BackupManifest> ReadManifest(const std::string& backup) {
  auto file = CheckedFile::Open(backup + "/" + kBackupManifest, FileKind::kBackup);
  if (absl::IsNotFound(file.status())) {
    return Error(absl::StatusCode::kNotFound, "NO_BACKUP",
                 absl::StrCat(backup, " is no backup, or one that was not finished: it has no ",
                              kBackupManifest));
  }
  if (absl::IsDataLoss(file.status())) return BadBackup(backup, file.status().message());
  if (!file.ok()) return file.status();
  records::BackupManifest manifest;
  const absl::string_view bytes = (*file)->payload();
  if (!manifest.ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
    return BadBackup(backup, "its manifest is unreadable");
  }
  for (const auto& entry : manifest.files()) {
    // Only names that WriteBackup makes: nothing may lead out of the folder.
    const std::string& name = entry.name();
    const bool ours =
        (name == "FORMAT" || absl::StartsWith(name, "db/") || absl::StartsWith(name, "index/")) &&
        !absl::StrContains(name, "..");
    if (!ours) return BadBackup(backup, "its manifest names a foreign file");
  }
  return manifest;
}

// Empty, or what a restore left that was cut off.
absl::Status ClearFolder(rocksdb::Env* env, const std::string& data_dir) {
  auto names = ListFolder(env, data_dir);
  if (absl::IsNotFound(names.status())) return absl::OkStatus();
  if (!names.ok()) return names.status();
  auto has = [&](absl::string_view name) {
    return std::find(names->begin(), names->end(), name) != names->end();
  };
  const bool cut_off = has(kDraft) && !has("FORMAT");
  for (const std::string& name : *names) {
    const bool draft =
        cut_off && (name == kDraft || name == "db" || name == "index" || name == "ACKED");
    if (name == "lost+found" || draft) continue;
    return Error(absl::StatusCode::kFailedPrecondition, "FOLDER_NOT_EMPTY",
                 absl::StrCat("a backup is restored into an empty data folder only, and ", data_dir,
                              " holds ", name, ". Start without --restore to serve what is there, ",
                              "or name another data folder"));
  }
  if (!cut_off) return absl::OkStatus();
  rocksdb::Status acked = env->DeleteFile(data_dir + "/ACKED");
  if (!acked.ok() && !acked.IsNotFound() && env->FileExists(data_dir + "/ACKED").ok()) {
    return FromRocks(acked, "clearing " + data_dir);
  }
  // The draft last: while it is there, the rest is known to be one.
  for (const char* name : {"db", "index", kDraft}) {
    absl::Status removed = RemoveTree(env, data_dir + "/" + name);
    if (!removed.ok()) return removed;
  }
  return absl::OkStatus();
}

absl::Status MakeParents(rocksdb::Env* env, const std::string& root, const std::string& name) {
  for (size_t at = name.find('/'); at != std::string::npos; at = name.find('/', at + 1)) {
    const std::string folder = root + "/" + name.substr(0, at);
    rocksdb::Status made = env->CreateDirIfMissing(folder);
    if (!made.ok()) return FromRocks(made, "making " + folder);
  }
  return absl::OkStatus();
}

absl::Status CopyAll(rocksdb::Env* env, const records::BackupManifest& manifest,
                     const std::string& backup, const std::string& draft,
                     const JobControl& control) {
  uint64_t total = 0, done = 0;
  for (const auto& entry : manifest.files()) total += entry.size();
  uint64_t free_bytes = 0;
  if (env->GetFreeSpace(draft, &free_bytes).ok() && free_bytes < total) {
    return Error(absl::StatusCode::kResourceExhausted, "DISK_FULL",
                 absl::StrCat("the backup has ", total >> 20, " MiB, and ", free_bytes >> 20,
                              " MiB are free where ", draft, " would be"));
  }
  for (const auto& entry : manifest.files()) {
    absl::Status status = MakeParents(env, draft, entry.name());
    if (!status.ok()) return status;
    const std::string from = backup + "/" + entry.name(), to = draft + "/" + entry.name();
    std::unique_ptr<rocksdb::WritableFile> file;
    rocksdb::Status made = env->NewWritableFile(to, &file, rocksdb::EnvOptions());
    if (!made.ok()) return FromRocks(made, "making " + to);
    uint32_t crc = 0;
    uint64_t size = 0;
    status = ReadPieces(env, from, [&](absl::string_view bytes) {
      crc = Crc32c(bytes.data(), bytes.size(), crc);
      size += bytes.size();
      done += bytes.size();
      control.Report(std::min(done, total), total);
      if (control.IsCancelled()) return JobCancelled();
      return FromRocks(file->Append(rocksdb::Slice(bytes.data(), bytes.size())), "writing " + to);
    });
    if (absl::IsNotFound(status) || env->FileExists(from).IsNotFound()) {
      return BadBackup(backup, absl::StrCat(entry.name(), " is missing"));
    }
    if (!status.ok()) return status;
    if (size != entry.size() || crc != entry.crc32c()) {
      return BadBackup(backup, absl::StrCat(entry.name(), " is not as it was written"));
    }
    made = file->Sync();
    if (made.ok()) made = file->Close();
    if (!made.ok()) return FromRocks(made, "writing " + to);
  }
  return absl::OkStatus();
}

// Opens the copy, which shows that it is whole, and starts a history of its own in it.
absl::Status TryStore(rocksdb::Env* env, const records::BackupManifest& manifest,
                      const std::string& backup, const std::string& draft) {
  StoreOptions options;
  options.data_dir = draft;
  options.env = env;
  auto store = RocksStore::Open(options);
  if (!store.ok()) return store.status();
  if ((*store)->recovered_version() != manifest.version()) {
    return BadBackup(
        backup, absl::StrCat("it is of version ", manifest.version(),
                             ", but its store ends at version ", (*store)->recovered_version()));
  }
  absl::Status status = (*store)->StartTimeline();
  absl::Status closed = (*store)->Close();
  return status.ok() ? closed : status;
}

absl::Status MoveIntoPlace(rocksdb::Env* env, const std::string& draft,
                           const std::string& data_dir) {
  absl::Status status = SyncTree(env, draft);
  for (const char* name : kEntries) {
    if (!status.ok()) return status;
    const std::string from = draft + "/" + name, to = data_dir + "/" + name;
    CrashPoint("restore.before_move");
    if (env->FileExists(from).IsNotFound()) continue;
    rocksdb::Status moved = env->RenameFile(from, to);
    if (!moved.ok()) return FromRocks(moved, "moving " + from + " into place");
    status = SyncParent(env, to);
  }
  if (!status.ok()) return status;
  return RemoveTree(env, draft);
}

}  // namespace

absl::StatusOr<BackupInfo> RestoreBackup(const std::string& backup, const std::string& data_dir,
                                         const JobControl& control, rocksdb::Env* env) {
  if (env == nullptr) env = rocksdb::Env::Default();
  auto manifest = ReadManifest(backup);
  if (!manifest.ok()) return manifest.status();
  absl::Status status = ClearFolder(env, data_dir);
  if (!status.ok()) return status;
  const std::string draft = data_dir + "/" + kDraft;
  rocksdb::Status made = env->CreateDirIfMissing(data_dir);
  if (made.ok()) made = env->CreateDirIfMissing(draft);
  if (!made.ok()) return FromRocks(made, "making the data folder " + data_dir);
  status = CopyAll(env, *manifest, backup, draft, control);
  if (status.ok()) status = TryStore(env, *manifest, backup, draft);
  if (!status.ok()) {
    RemoveTree(env, draft).IgnoreError();  // the next restore clears what stays
    return status;
  }
  status = MoveIntoPlace(env, draft, data_dir);
  if (!status.ok()) return status;
  BackupInfo info;
  info.version = manifest->version();
  info.files = static_cast<uint64_t>(manifest->files_size());
  for (const auto& file : manifest->files()) info.bytes += file.size();
  return info;
}

}  // namespace imagesearch::index
