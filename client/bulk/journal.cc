// See journal.h.
#include "client/bulk/journal.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/error.h"

namespace imagesearch::client {
namespace {

absl::Status FileError(const std::string& path) {
  return Error(absl::StatusCode::kInvalidArgument, "LOCAL_FILE",
               absl::StrCat(path, ": ", std::strerror(errno)));
}

std::string Line(const std::string& path, const JournalEntry& entry) {
  return absl::StrCat(entry.content_hash, "\t", entry.sent_hash, "\t", entry.metadata_hash, "\t",
                      absl::CEscape(entry.id), "\t", entry.size, "\t", entry.modified_ns, "\t",
                      absl::CEscape(path), "\n");
}

bool Parse(absl::string_view line, std::string* path, JournalEntry* entry) {
  const std::vector<absl::string_view> fields = absl::StrSplit(line, '\t');
  if (fields.size() != 7 || fields[0].size() != 64 || fields[1].size() != 64) return false;
  entry->content_hash = std::string(fields[0]);
  entry->sent_hash = std::string(fields[1]);
  entry->metadata_hash = std::string(fields[2]);
  return absl::CUnescape(fields[3], &entry->id) && absl::SimpleAtoi(fields[4], &entry->size) &&
         absl::SimpleAtoi(fields[5], &entry->modified_ns) && absl::CUnescape(fields[6], path);
}

absl::Status WriteAll(int fd, absl::string_view bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t written = write(fd, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return FileError(path);
    bytes.remove_prefix(static_cast<size_t>(written));
  }
  return absl::OkStatus();
}

}  // namespace

std::string Journal::DefaultFolder() {
  const char* state = std::getenv("XDG_STATE_HOME");
  if (state != nullptr && state[0] == '/') return absl::StrCat(state, "/imagesearch");
  const char* home = std::getenv("HOME");
  return absl::StrCat(home != nullptr ? home : ".", "/.local/state/imagesearch");
}

absl::StatusOr<std::unique_ptr<Journal>> Journal::Open(const std::string& folder,
                                                       const std::string& instance_id,
                                                       const std::string& collection) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return Error(absl::StatusCode::kInvalidArgument, "LOCAL_FILE",
                 absl::StrCat(folder, ": ", error.message()));
  }
  // The server's word: nothing of it may leave the folder.
  std::string name = absl::StrCat(instance_id, "-", collection);
  std::replace_if(
      name.begin(), name.end(),
      [](char c) { return !absl::ascii_isalnum(c) && c != '-' && c != '_'; }, '_');
  std::string path = absl::StrCat(folder, "/", name, ".journal");
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (fd < 0) return FileError(path);
  std::unique_ptr<Journal> journal(new Journal(std::move(path), fd));
  flock(fd, LOCK_SH | LOCK_NB);  // see Compact()
  if (auto status = journal->Load(); !status.ok()) return status;
  return journal;
}

Journal::~Journal() {
  MutexLock lock(&mutex_);
  close(fd_);
}

absl::Status Journal::Load() {
  std::string text;
  {
    MutexLock lock(&mutex_);
    char buffer[1 << 16];
    ssize_t count = 0;
    while ((count = read(fd_, buffer, sizeof buffer)) != 0) {
      if (count < 0 && errno != EINTR) return FileError(path_);
      if (count > 0) text.append(buffer, static_cast<size_t>(count));
    }
    // A line that a crash cut must not swallow the next one.
    if (!text.empty() && text.back() != '\n') {
      if (auto status = WriteAll(fd_, "\n", path_); !status.ok()) return status;
    }
  }
  for (absl::string_view rest = text; !rest.empty();) {
    const size_t end = rest.find('\n');
    if (end == absl::string_view::npos) break;
    std::string path;
    JournalEntry entry;
    ++lines_;
    if (Parse(rest.substr(0, end), &path, &entry)) entries_[path] = std::move(entry);
    rest.remove_prefix(end + 1);
  }
  return lines_ > 1000 && lines_ > 2 * entries_.size() ? Compact() : absl::OkStatus();
}

absl::Status Journal::Compact() {
  MutexLock lock(&mutex_);
  // Another job that appends keeps a shared lock: then the file stays as it is.
  if (flock(fd_, LOCK_EX | LOCK_NB) == 0) {
    const std::string fresh = absl::StrCat(path_, ".new");
    const int fd = open(fresh.c_str(), O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0644);
    if (fd < 0) return FileError(fresh);
    std::string text;
    for (const auto& [path, entry] : entries_) text += Line(path, entry);
    absl::Status status = WriteAll(fd, text, fresh);
    if (status.ok() && (fsync(fd) != 0 || std::rename(fresh.c_str(), path_.c_str()) != 0)) {
      status = FileError(fresh);
    }
    if (!status.ok()) {
      close(fd);
      return status;
    }
    close(fd_);
    fd_ = fd;
    lines_ = entries_.size();
  }
  flock(fd_, LOCK_SH | LOCK_NB);
  return absl::OkStatus();
}

absl::Status Journal::Record(const std::string& path, const JournalEntry& entry) {
  const std::string line = Line(path, entry);
  MutexLock lock(&mutex_);
  return WriteAll(fd_, line, path_);
}

}  // namespace imagesearch::client
