#include "index/store/snapshot.h"

#include <algorithm>
#include <cstdlib>
#include <functional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/strip.h"
#include "index/store/checked_file.h"
#include "index/store/crash_point.h"
#include "index/store/segment_builder.h"

namespace imagesearch::index {
namespace {

constexpr absl::string_view kSuffix = ".snapshot";
constexpr size_t kKept = 2;

// Names of snapshot files, newest first: they are versions in fixed-width hex.
std::vector<std::string> SnapshotNames(const Engine& engine, const std::string& folder) {
  std::vector<std::string> children, names;
  engine.store->env()->GetChildren(folder, &children).PermitUncheckedError();
  for (std::string& child : children) {
    if (absl::EndsWith(child, kSuffix)) names.push_back(std::move(child));
  }
  std::sort(names.begin(), names.end(), std::greater<>());
  return names;
}

absl::StatusOr<records::SnapshotDescription> ReadOne(const Engine& engine,
                                                     const CollectionState& state,
                                                     const std::string& path) {
  auto file = CheckedFile::Open(path, FileKind::kSnapshot);
  if (!file.ok()) return file.status();
  const FileIdentity identity = IdentityOf(engine, state);
  records::SnapshotDescription snapshot;
  if (!snapshot.ParseFromArray((*file)->description().data(),
                               static_cast<int>((*file)->description().size())) ||
      snapshot.instance_id() != identity.instance_id ||
      snapshot.collection() != identity.collection || snapshot.dimension() != identity.dimension ||
      snapshot.model_fingerprint() != identity.model_fingerprint) {
    return absl::DataLossError(absl::StrCat(path, " belongs to another collection"));
  }
  return snapshot;
}

// The files that a snapshot needs, itself first.
std::vector<std::string> FilesOf(const std::string& name,
                                 const records::SnapshotDescription& snapshot) {
  std::vector<std::string> files{name};
  for (const std::string& segment : snapshot.segments()) {
    files.push_back(segment + ".rows");
    files.push_back(segment + ".ann");
  }
  return files;
}

void RemoveUnnamed(const Engine& engine, const CollectionState& state) {
  const std::string folder = IndexFolder(engine, state.id);
  rocksdb::Env* env = engine.store->env();
  std::set<std::string> named;
  size_t kept = 0;
  for (const std::string& name : SnapshotNames(engine, folder)) {
    auto snapshot = ReadOne(engine, state, absl::StrCat(folder, "/", name));
    if (!snapshot.ok() || kept == kKept) continue;
    ++kept;
    for (std::string& file : FilesOf(name, *snapshot)) named.insert(std::move(file));
  }
  std::vector<std::string> children;
  env->GetChildren(folder, &children).PermitUncheckedError();
  for (const std::string& child : children) {
    if (child == "." || child == ".." || named.count(child) != 0) continue;
    // What stays behind is found again the next time.
    env->DeleteFile(absl::StrCat(folder, "/", child)).PermitUncheckedError();
  }
}

}  // namespace

absl::Status WriteSnapshot(const Engine& engine, const CollectionState& state, const View& view,
                           uint64_t version) {
  const FileIdentity identity = IdentityOf(engine, state);
  records::SnapshotDescription snapshot;
  snapshot.set_instance_id(identity.instance_id);
  snapshot.set_collection(identity.collection);
  snapshot.set_dimension(identity.dimension);
  snapshot.set_model_fingerprint(identity.model_fingerprint);
  snapshot.set_version(version);
  for (const SegmentPart& part : view.segments) snapshot.add_segments(part.segment->name());
  const std::string path =
      absl::StrFormat("%s/%016x%s", IndexFolder(engine, state.id), version, kSuffix);
  auto file = CheckedFileWriter::Create(engine.store->env(), path, FileKind::kSnapshot);
  if (!file.ok()) return file.status();
  CrashPoint("snapshot.before_finish");
  absl::Status status = (*file)->Finish(snapshot.SerializeAsString());
  if (!status.ok()) return status;
  CrashPoint("snapshot.before_cleanup");
  RemoveUnnamed(engine, state);
  return absl::OkStatus();
}

std::vector<records::SnapshotDescription> ReadSnapshots(const Engine& engine,
                                                        const CollectionState& state,
                                                        std::vector<std::string>* problems) {
  const std::string folder = IndexFolder(engine, state.id);
  std::vector<records::SnapshotDescription> snapshots;
  for (const std::string& name : SnapshotNames(engine, folder)) {
    auto snapshot = ReadOne(engine, state, absl::StrCat(folder, "/", name));
    if (snapshot.ok()) {
      snapshots.push_back(*std::move(snapshot));
    } else {
      problems->push_back(snapshot.status().ToString());
    }
  }
  return snapshots;
}

std::vector<std::string> NewestSnapshotFiles(const Engine& engine, const CollectionState& state) {
  const std::string folder = IndexFolder(engine, state.id);
  for (const std::string& name : SnapshotNames(engine, folder)) {
    auto snapshot = ReadOne(engine, state, absl::StrCat(folder, "/", name));
    if (snapshot.ok()) return FilesOf(name, *snapshot);
  }
  return {};
}

std::optional<uint64_t> OldestSnapshot(const Engine& engine, uint32_t collection) {
  const std::vector<std::string> names = SnapshotNames(engine, IndexFolder(engine, collection));
  if (names.empty()) return std::nullopt;
  return std::strtoull(names[std::min(names.size(), kKept) - 1].c_str(), nullptr, 16);
}

std::optional<SnapshotMark> NewestSnapshot(const Engine& engine, uint32_t collection) {
  const std::string name = NewestSnapshotName(engine, collection);
  const std::string path = absl::StrCat(IndexFolder(engine, collection), "/", name);
  uint64_t seconds = 0;
  if (name.empty() || !engine.store->env()->GetFileModificationTime(path, &seconds).ok()) {
    return std::nullopt;
  }
  return SnapshotMark{std::strtoull(name.c_str(), nullptr, 16),
                      absl::FromUnixSeconds(static_cast<int64_t>(seconds))};
}

std::string NewestSnapshotName(const Engine& engine, uint32_t collection) {
  const std::vector<std::string> names = SnapshotNames(engine, IndexFolder(engine, collection));
  return names.empty() ? "" : names[0];
}

void RemoveIndexFolder(const Engine& engine, uint32_t collection) {
  rocksdb::Env* env = engine.store->env();
  const std::string folder = IndexFolder(engine, collection);
  std::vector<std::string> files;
  env->GetChildren(folder, &files).PermitUncheckedError();
  for (const std::string& file : files) {
    if (file == "." || file == "..") continue;
    env->DeleteFile(absl::StrCat(folder, "/", file)).PermitUncheckedError();
  }
  env->DeleteDir(folder).PermitUncheckedError();
}

void RemoveStrayFolders(const Engine& engine, const std::vector<uint32_t>& collections) {
  std::vector<std::string> folders;
  engine.store->env()
      ->GetChildren(engine.options.data_dir + "/index", &folders)
      .PermitUncheckedError();
  for (const std::string& folder : folders) {
    uint32_t id = 0;
    if (!absl::SimpleAtoi(folder, &id)) continue;
    if (std::find(collections.begin(), collections.end(), id) != collections.end()) continue;
    RemoveIndexFolder(engine, id);
  }
}

}  // namespace imagesearch::index
