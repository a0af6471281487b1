// A file system under RocksDB that knows what a power loss may take: bytes that were not synced,
// and files and renames whose folder was not. It also fails calls on demand.
#ifndef IMAGESEARCH_TESTS_INDEX_POWER_LOSS_FILE_SYSTEM_H_
#define IMAGESEARCH_TESTS_INDEX_POWER_LOSS_FILE_SYSTEM_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "rocksdb/file_system.h"

namespace imagesearch::index {

enum class FileOperation { kAppend, kSync, kCreate, kRename, kSyncFolder };

// Thread-safe.
class PowerLossFileSystem : public rocksdb::FileSystemWrapper {
 public:
  PowerLossFileSystem() : FileSystemWrapper(rocksdb::FileSystem::Default()) {}
  const char* Name() const override { return "PowerLoss"; }

  // From now on nothing that is written arrives.
  void Cut() { dead_.store(true); }
  // Takes away what was not durable at the cut: all of it, or by chance a part. To be called when
  // nobody uses the file system; then the power is back.
  void Restore(std::mt19937* random);

  // Called before each operation; an error that it returns is the operation's. Set while nobody
  // uses the file system, or make it thread-safe.
  using Fault = std::function<rocksdb::IOStatus(FileOperation, const std::string& path)>;
  void SetFault(Fault fault);

  // Bytes of files whose name ends in `suffix` that a power loss would take now.
  uint64_t UnsyncedBytes(const std::string& suffix) const;
  uint64_t syncs() const { return syncs_.load(); }
  uint64_t restores_that_took_something() const { return took_something_; }

  rocksdb::IOStatus NewWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                    std::unique_ptr<rocksdb::FSWritableFile>* file,
                                    rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus ReopenWritableFile(const std::string& path, const rocksdb::FileOptions& options,
                                       std::unique_ptr<rocksdb::FSWritableFile>* file,
                                       rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus NewDirectory(const std::string& path, const rocksdb::IOOptions& options,
                                 std::unique_ptr<rocksdb::FSDirectory>* directory,
                                 rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus RenameFile(const std::string& from, const std::string& to,
                               const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;
  rocksdb::IOStatus DeleteFile(const std::string& path, const rocksdb::IOOptions& options,
                               rocksdb::IODebugContext* debug) override;

 private:
  friend class TrackedFile;
  friend class TrackedDirectory;
  struct FileState {
    uint64_t size = 0;
    uint64_t synced = 0;
  };
  // A change of a folder that is not durable yet.
  struct Change {
    std::string created;   // a new file, or
    std::string from, to;  // a rename
    std::string replaced;  // what `to` held, kept aside; empty: nothing
    std::shared_ptr<FileState> replaced_state;
  };

  rocksdb::IOStatus Check(FileOperation operation, const std::string& path);
  void SyncFolder(const std::string& folder);
  void Track(const std::string& path, std::shared_ptr<FileState> state);

  std::atomic<bool> dead_{false};
  std::atomic<uint64_t> syncs_{0};
  uint64_t took_something_ = 0;
  mutable std::mutex mutex_;
  Fault fault_;
  std::map<std::string, std::shared_ptr<FileState>> files_;
  std::map<std::string, std::vector<Change>> changes_;  // by folder, in order
  uint64_t next_aside_ = 0;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_TESTS_INDEX_POWER_LOSS_FILE_SYSTEM_H_
