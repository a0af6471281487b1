#include "index/store/backup.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/store/checked_file.h"
#include "index/store/crash_point.h"
#include "index/store/crc32c.h"
#include "index/store/data_folder.h"
#include "index/store/folder_tools.h"
#include "index/store/records.pb.h"
#include "index/store/rocks_status.h"
#include "index/store/segment_builder.h"
#include "index/store/snapshot.h"

namespace imagesearch::index {
namespace {

// A merge may remove an index file between the look and the link; then there is a newer one.
constexpr int kLinkAttempts = 100;

class BackupWriter {
 public:
  BackupWriter(const Engine& engine, const std::string& folder, const JobControl& control)
      : engine_(engine), env_(engine.store->env()), folder_(folder), control_(control) {}

  absl::StatusOr<BackupInfo> Write(
      const std::vector<std::shared_ptr<CollectionState>>& collections) {
    absl::Status status = MakeFolder(folder_ + "/index");
    // The index files first: a segment must not hold slots that the store does not know of.
    for (size_t i = 0; i < collections.size() && status.ok(); ++i) {
      status = LinkIndex(*collections[i]);
    }
    CrashPoint("backup.linked");
    if (status.ok()) status = engine_.store->Checkpoint(folder_ + "/db");
    CrashPoint("backup.checkpointed");
    if (status.ok()) {
      status = CopyFile(env_, engine_.options.data_dir + "/FORMAT", folder_ + "/FORMAT");
    }
    if (!status.ok()) return status;
    const absl::StatusOr<uint64_t> version = RocksStore::VersionOf(env_, folder_ + "/db");
    if (!version.ok()) return version.status();
    records::BackupManifest manifest;
    manifest.set_version(*version);
    manifest.set_instance_id(engine_.store->instance_id());
    manifest.set_created_unix_seconds(absl::ToUnixSeconds(absl::Now()));
    status = Describe(&manifest);
    CrashPoint("backup.before_manifest");
    if (status.ok()) status = WriteManifest(manifest);
    if (!status.ok()) return status;
    BackupInfo info;
    info.version = *version;
    info.files = static_cast<uint64_t>(manifest.files_size());
    for (const auto& file : manifest.files()) info.bytes += file.size();
    return info;
  }

 private:
  bool IsStopped() const { return control_.IsCancelled() || engine_.cancelled->load(); }

  absl::Status MakeFolder(const std::string& path) const {
    return FromRocks(env_->CreateDirIfMissing(path), "making " + path);
  }

  absl::Status LinkIndex(const CollectionState& state) const {
    const std::string from = IndexFolder(engine_, state.id);
    const std::string to = absl::StrCat(folder_, "/index/", state.id);
    absl::Status status = MakeFolder(to);
    for (int attempt = 0; attempt < kLinkAttempts && status.ok(); ++attempt) {
      bool vanished = false;
      for (const std::string& name : NewestSnapshotFiles(engine_, state)) {
        status = LinkOrCopy(from + "/" + name, to + "/" + name);
        vanished = absl::IsNotFound(status);
        if (!status.ok()) break;
      }
      if (!vanished) break;
      // Start over; what was linked is dropped, so that no stray segment remains.
      status = RemoveTree(env_, to);
      if (status.ok()) status = MakeFolder(to);
    }
    return status;
  }

  absl::Status LinkOrCopy(const std::string& from, const std::string& to) const {
    if (IsStopped()) return JobCancelled();
    if (env_->LinkFile(from, to).ok()) return absl::OkStatus();
    if (env_->FileExists(from).IsNotFound()) {
      return absl::NotFoundError(absl::StrCat(from, " was removed meanwhile"));
    }
    return CopyFile(env_, from, to);
  }

  // Size and CRC of every file.
  absl::Status Describe(records::BackupManifest* manifest) const {
    auto files = ListTree(env_, folder_);
    if (!files.ok()) return files.status();
    uint64_t total = 0, done = 0;
    for (const TreeFile& file : *files) total += file.size;
    for (const TreeFile& file : *files) {
      records::BackupManifest::File* entry = manifest->add_files();
      entry->set_name(file.name);
      uint32_t crc = 0;
      uint64_t size = 0;
      absl::Status status =
          ReadPieces(env_, folder_ + "/" + file.name, [&](absl::string_view bytes) {
            crc = Crc32c(bytes.data(), bytes.size(), crc);
            size += bytes.size();
            done += bytes.size();
            control_.Report(std::min(done, total), total);
            return IsStopped() ? JobCancelled() : absl::OkStatus();
          });
      if (!status.ok()) return status;
      entry->set_size(size);
      entry->set_crc32c(crc);
    }
    return absl::OkStatus();
  }

  absl::Status WriteManifest(const records::BackupManifest& manifest) const {
    // Folders first: the manifest says that all is there.
    absl::Status status = SyncTree(env_, folder_);
    if (!status.ok()) return status;
    auto file = CheckedFileWriter::Create(env_, folder_ + "/" + kBackupManifest, FileKind::kBackup);
    if (!file.ok()) return file.status();
    const std::string bytes = manifest.SerializeAsString();
    (*file)->Write(bytes.data(), bytes.size());
    return (*file)->Finish("");
  }

  const Engine& engine_;
  rocksdb::Env* const env_;
  const std::string folder_;
  const JobControl& control_;
};

}  // namespace

absl::StatusOr<BackupInfo> WriteBackup(
    const Engine& engine, const std::vector<std::shared_ptr<CollectionState>>& collections,
    const std::string& folder, const JobControl& control) {
  rocksdb::Env* env = engine.store->env();
  auto children = ListFolder(env, folder);
  if (!children.ok() && !absl::IsNotFound(children.status())) return children.status();
  const bool existed = children.ok();
  if (existed && !children->empty()) {
    return Error(absl::StatusCode::kFailedPrecondition, "FOLDER_NOT_EMPTY",
                 absl::StrCat("the backup folder ", folder, " is not empty; name a new one"));
  }
  rocksdb::Status made = env->CreateDirIfMissing(folder);
  if (!made.ok()) return FromRocks(made, "making the backup folder " + folder);
  absl::StatusOr<BackupInfo> info = BackupWriter(engine, folder, control).Write(collections);
  absl::Status kept;
  if (info.ok() && folder.find('/') != std::string::npos) kept = SyncParent(env, folder);
  if (info.ok() && kept.ok()) return info;
  // What can't be removed has no manifest, and is refused by a restore.
  RemoveTree(env, folder).IgnoreError();
  if (existed) env->CreateDirIfMissing(folder).PermitUncheckedError();
  if (!info.ok()) return info;
  return kept;
}

}  // namespace imagesearch::index
