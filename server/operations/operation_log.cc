// A temporary file, a sync, a rename, a sync of the folder.
#include "server/operations/operation_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace imagesearch::server {
namespace {

absl::Status IoError(absl::string_view what, const std::string& path) {
  return Error(absl::StatusCode::kUnavailable, "STORE_IO",
               absl::StrCat("can't ", what, " ", path, ": ", std::strerror(errno)));
}

absl::Status WriteSynced(const std::string& path, const std::string& bytes) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (file < 0) return IoError("make", path);
  absl::Status status;
  size_t written = 0;
  while (written < bytes.size() && status.ok()) {
    const ssize_t now = write(file, bytes.data() + written, bytes.size() - written);
    if (now < 0 && errno != EINTR) status = IoError("write", path);
    if (now > 0) written += static_cast<size_t>(now);
  }
  if (status.ok() && fsync(file) != 0) status = IoError("sync", path);
  if (close(file) != 0 && status.ok()) status = IoError("close", path);
  return status;
}

absl::Status SyncFolder(const std::string& path) {
  const int folder = open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (folder < 0) return IoError("open", path);
  const bool synced = fsync(folder) == 0;
  close(folder);
  return synced ? absl::OkStatus() : IoError("sync", path);
}

}  // namespace

absl::StatusOr<OperationLog> ReadOperationLog(const std::string& path) {
  OperationLog log;
  std::ifstream file(path, std::ios::binary);
  if (!file) return log;
  std::stringstream bytes;
  bytes << file.rdbuf();
  if (!log.ParseFromString(bytes.str())) {
    return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                 absl::StrCat(path, " is unreadable; it holds the history of operations alone: ",
                              "remove it to go on without"));
  }
  return log;
}

absl::Status WriteOperationLog(const std::string& path, const OperationLog& log) {
  const std::string draft = path + ".tmp";
  absl::Status status = WriteSynced(draft, log.SerializeAsString());
  if (!status.ok()) return status;
  if (rename(draft.c_str(), path.c_str()) != 0) return IoError("rename", draft);
  return SyncFolder(std::filesystem::path(path).parent_path().string());
}

}  // namespace imagesearch::server
