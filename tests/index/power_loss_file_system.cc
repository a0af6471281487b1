#include "tests/index/power_loss_file_system.h"

#include <algorithm>
#include <filesystem>
#include <utility>

namespace imagesearch::index {
namespace {

using rocksdb::IODebugContext;
using rocksdb::IOOptions;
using rocksdb::IOStatus;

std::string FolderOf(const std::string& path) { return path.substr(0, path.rfind('/')); }

bool EndsWith(const std::string& text, const std::string& suffix) {
  return text.size() >= suffix.size() &&
         text.compare(text.size() - suffix.size(), suffix.size(), suffix) == 0;
}

}  // namespace

class TrackedFile : public rocksdb::FSWritableFileOwnerWrapper {
 public:
  TrackedFile(std::unique_ptr<rocksdb::FSWritableFile> file, PowerLossFileSystem* system,
              std::string path, std::shared_ptr<PowerLossFileSystem::FileState> state)
      : FSWritableFileOwnerWrapper(std::move(file)),
        system_(system),
        path_(std::move(path)),
        state_(std::move(state)) {}

  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options,
                  IODebugContext* debug) override {
    IOStatus status = system_->Check(FileOperation::kAppend, path_);
    if (status.ok()) status = FSWritableFileOwnerWrapper::Append(data, options, debug);
    if (status.ok()) Grow(data.size());
    return status;
  }
  IOStatus Append(const rocksdb::Slice& data, const IOOptions& options,
                  const rocksdb::DataVerificationInfo& info, IODebugContext* debug) override {
    IOStatus status = system_->Check(FileOperation::kAppend, path_);
    if (status.ok()) status = FSWritableFileOwnerWrapper::Append(data, options, info, debug);
    if (status.ok()) Grow(data.size());
    return status;
  }
  IOStatus Sync(const IOOptions& options, IODebugContext* debug) override {
    return Synced([&] { return FSWritableFileOwnerWrapper::Sync(options, debug); });
  }
  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return Synced([&] { return FSWritableFileOwnerWrapper::Fsync(options, debug); });
  }

 private:
  void Grow(uint64_t bytes) {
    std::lock_guard<std::mutex> lock(system_->mutex_);
    state_->size += bytes;
  }
  template <typename Call>
  IOStatus Synced(Call call) {
    uint64_t size;
    {
      std::lock_guard<std::mutex> lock(system_->mutex_);
      size = state_->size;
    }
    IOStatus status = system_->Check(FileOperation::kSync, path_);
    if (status.ok()) status = call();
    if (!status.ok()) return status;
    system_->syncs_.fetch_add(1);
    std::lock_guard<std::mutex> lock(system_->mutex_);
    state_->synced = std::max(state_->synced, size);
    return status;
  }

  PowerLossFileSystem* const system_;
  const std::string path_;
  const std::shared_ptr<PowerLossFileSystem::FileState> state_;
};

class TrackedDirectory : public rocksdb::FSDirectoryWrapper {
 public:
  TrackedDirectory(std::unique_ptr<rocksdb::FSDirectory> directory, PowerLossFileSystem* system,
                   std::string path)
      : FSDirectoryWrapper(std::move(directory)), system_(system), path_(std::move(path)) {
    while (path_.size() > 1 && path_.back() == '/') path_.pop_back();
  }

  IOStatus Fsync(const IOOptions& options, IODebugContext* debug) override {
    return Synced([&] { return FSDirectoryWrapper::Fsync(options, debug); });
  }
  IOStatus FsyncWithDirOptions(const IOOptions& options, IODebugContext* debug,
                               const rocksdb::DirFsyncOptions& folder) override {
    return Synced([&] { return FSDirectoryWrapper::FsyncWithDirOptions(options, debug, folder); });
  }

 private:
  template <typename Call>
  IOStatus Synced(Call call) {
    IOStatus status = system_->Check(FileOperation::kSyncFolder, path_);
    if (status.ok()) status = call();
    if (status.ok()) system_->SyncFolder(path_);
    return status;
  }

  PowerLossFileSystem* const system_;
  std::string path_;
};

IOStatus PowerLossFileSystem::Check(FileOperation operation, const std::string& path) {
  if (dead_.load()) return IOStatus::IOError("the power is out", path);
  Fault fault;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    fault = fault_;
  }
  return fault ? fault(operation, path) : IOStatus::OK();
}

void PowerLossFileSystem::SetFault(Fault fault) {
  std::lock_guard<std::mutex> lock(mutex_);
  fault_ = std::move(fault);
}

uint64_t PowerLossFileSystem::UnsyncedBytes(const std::string& suffix) const {
  std::lock_guard<std::mutex> lock(mutex_);
  uint64_t bytes = 0;
  for (const auto& [path, state] : files_) {
    if (EndsWith(path, suffix)) bytes += state->size - state->synced;
  }
  return bytes;
}

void PowerLossFileSystem::SyncFolder(const std::string& folder) {
  std::lock_guard<std::mutex> lock(mutex_);
  for (const Change& change : changes_[folder]) {
    if (!change.replaced.empty()) std::filesystem::remove(change.replaced);
  }
  changes_.erase(folder);
}

IOStatus PowerLossFileSystem::NewWritableFile(const std::string& path,
                                              const rocksdb::FileOptions& options,
                                              std::unique_ptr<rocksdb::FSWritableFile>* file,
                                              IODebugContext* debug) {
  IOStatus status = Check(FileOperation::kCreate, path);
  if (!status.ok()) return status;
  const bool existed = std::filesystem::exists(path);
  std::unique_ptr<rocksdb::FSWritableFile> inner;
  status = FileSystemWrapper::NewWritableFile(path, options, &inner, debug);
  if (!status.ok()) return status;
  auto state = std::make_shared<FileState>();
  std::lock_guard<std::mutex> lock(mutex_);
  files_[path] = state;
  if (!existed) changes_[FolderOf(path)].push_back({path, "", "", "", nullptr});
  *file = std::make_unique<TrackedFile>(std::move(inner), this, path, std::move(state));
  return status;
}

IOStatus PowerLossFileSystem::ReopenWritableFile(const std::string& path,
                                                 const rocksdb::FileOptions& options,
                                                 std::unique_ptr<rocksdb::FSWritableFile>* file,
                                                 IODebugContext* debug) {
  IOStatus status = Check(FileOperation::kCreate, path);
  std::unique_ptr<rocksdb::FSWritableFile> inner;
  if (status.ok()) status = FileSystemWrapper::ReopenWritableFile(path, options, &inner, debug);
  if (!status.ok()) return status;
  std::lock_guard<std::mutex> lock(mutex_);
  std::shared_ptr<FileState>& state = files_[path];
  if (state == nullptr) {
    state = std::make_shared<FileState>();
    state->size = state->synced = std::filesystem::file_size(path);
  }
  *file = std::make_unique<TrackedFile>(std::move(inner), this, path, state);
  return status;
}

IOStatus PowerLossFileSystem::NewDirectory(const std::string& path, const IOOptions& options,
                                           std::unique_ptr<rocksdb::FSDirectory>* directory,
                                           IODebugContext* debug) {
  std::unique_ptr<rocksdb::FSDirectory> inner;
  IOStatus status = FileSystemWrapper::NewDirectory(path, options, &inner, debug);
  if (status.ok()) {
    *directory = std::make_unique<TrackedDirectory>(std::move(inner), this, path);
  }
  return status;
}

IOStatus PowerLossFileSystem::RenameFile(const std::string& from, const std::string& to,
                                         const IOOptions& options, IODebugContext* debug) {
  IOStatus status = Check(FileOperation::kRename, from);
  if (!status.ok()) return status;
  std::lock_guard<std::mutex> lock(mutex_);
  Change change{"", from, to, "", nullptr};
  if (std::filesystem::exists(to)) {
    change.replaced = FolderOf(to) + "/aside." + std::to_string(next_aside_++);
    std::filesystem::create_hard_link(to, change.replaced);
    auto known = files_.find(to);
    if (known != files_.end()) change.replaced_state = known->second;
  }
  status = FileSystemWrapper::RenameFile(from, to, options, debug);
  if (!status.ok()) return status;
  auto moved = files_.find(from);
  if (moved != files_.end()) {
    files_[to] = moved->second;
    files_.erase(from);
  } else {
    files_.erase(to);
  }
  changes_[FolderOf(to)].push_back(std::move(change));
  return status;
}

IOStatus PowerLossFileSystem::DeleteFile(const std::string& path, const IOOptions& options,
                                         IODebugContext* debug) {
  if (dead_.load()) return IOStatus::IOError("the power is out", path);
  IOStatus status = FileSystemWrapper::DeleteFile(path, options, debug);
  if (!status.ok()) return status;
  std::lock_guard<std::mutex> lock(mutex_);
  files_.erase(path);
  return status;
}

void PowerLossFileSystem::Restore(std::mt19937* random) {
  std::lock_guard<std::mutex> lock(mutex_);
  bool took = false;
  auto chance = [&](uint64_t most) {
    return std::uniform_int_distribution<uint64_t>(0, most)(*random);
  };
  for (auto& [folder, changes] : changes_) {
    const size_t kept = chance(2) == 0 ? chance(changes.size()) : 0;
    for (size_t i = changes.size(); i > kept; --i) {
      Change& change = changes[i - 1];
      if (!change.created.empty()) {
        took |= std::filesystem::remove(change.created);
        files_.erase(change.created);
        continue;
      }
      if (!std::filesystem::exists(change.to)) continue;  // deleted since
      std::filesystem::rename(change.to, change.from);
      took = true;
      auto moved = files_.find(change.to);
      if (moved != files_.end()) {
        files_[change.from] = moved->second;
        files_.erase(change.to);
      }
      if (!change.replaced.empty()) {
        std::filesystem::rename(change.replaced, change.to);
        if (change.replaced_state != nullptr) files_[change.to] = change.replaced_state;
      }
    }
    for (size_t i = 0; i < kept; ++i) {
      if (!changes[i].replaced.empty()) std::filesystem::remove(changes[i].replaced);
    }
  }
  changes_.clear();
  for (auto& [path, state] : files_) {
    if (state->size == state->synced || !std::filesystem::exists(path)) continue;
    const uint64_t unsynced = state->size - state->synced;
    const uint64_t survives = chance(2) == 0 ? chance(unsynced) : 0;
    std::filesystem::resize_file(path, state->synced + survives);
    took |= survives < unsynced;
  }
  files_.clear();
  if (took) ++took_something_;
  dead_.store(false);
}

}  // namespace imagesearch::index
