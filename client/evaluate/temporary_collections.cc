// The record is locked before it gets the name by which others look for it, so none is taken for a
// left-over while it is new.
#include "client/evaluate/temporary_collections.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace imagesearch::client {
namespace {

namespace fs = std::filesystem;

constexpr char kRecord[] = ".evaluation";

uint32_t Random() {
  std::random_device random;
  return random();
}

}  // namespace

TemporaryCollections::TemporaryCollections(const Client* client, const std::string& folder)
    : client_(client) {
  if (folder.empty()) return;
  std::error_code error;
  fs::create_directories(folder, error);
  const absl::StatusOr<v1::GetServerInfoResponse> info = client_->GetServerInfo();
  if (error || !info.ok()) return;
  Sweep(folder, info->instance_id());

  MutexLock lock(&mutex_);
  const std::string path = absl::StrFormat("%s/%d-%08x%s", folder, getpid(), Random(), kRecord);
  const std::string draft = path + ".new";
  fd_ = open(draft.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_APPEND | O_CLOEXEC, 0600);
  if (fd_ < 0) return;
  Note(info->instance_id());
  if (flock(fd_, LOCK_EX | LOCK_NB) == 0) {
    fs::rename(draft, path, error);
    if (!error) {
      record_ = path;
      return;
    }
  }
  fs::remove(draft, error);
  close(fd_);
  fd_ = -1;
}

TemporaryCollections::~TemporaryCollections() {
  DeleteAll();
  MutexLock lock(&mutex_);
  if (fd_ >= 0) close(fd_);
}

void TemporaryCollections::Note(const std::string& line) {
  if (fd_ < 0) return;
  const std::string bytes = line + "\n";
  // A name that could not be noted is only not swept should this process be killed.
  const ssize_t ignored = write(fd_, bytes.data(), bytes.size());
  static_cast<void>(ignored);
}

bool TemporaryCollections::Delete(const std::string& name) const {
  v1::DeleteCollectionRequest request;
  request.set_collection(name);
  const absl::Status status = client_->DeleteCollection(request).status();
  return status.ok() || absl::IsNotFound(status);
}

void TemporaryCollections::Sweep(const std::string& folder, const std::string& instance_id) {
  std::error_code error;
  std::vector<std::string> paths;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() == kRecord) paths.push_back(entry.path().string());
  }
  for (const std::string& path : paths) {
    const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
      std::ifstream file(path);
      std::string line;
      // Collections of another server wait until an evaluation runs there.
      if (std::getline(file, line) && line == instance_id) {
        bool all = true;
        while (std::getline(file, line)) {
          if (!absl::StartsWith(line, "evaluate-")) continue;
          const bool gone = Delete(line);
          swept_ += gone;
          all = all && gone;
        }
        if (all) fs::remove(path, error);
      }
    }
    close(fd);
  }
}

absl::StatusOr<std::string> TemporaryCollections::Make(absl::string_view kind, int dimension) {
  MutexLock lock(&mutex_);
  if (ended_) return absl::CancelledError("the evaluation was stopped");
  v1::CreateCollectionRequest request;
  v1::Collection& collection = *request.mutable_collection();
  collection.set_name(absl::StrFormat("evaluate-%s-%08x", kind, Random()));
  collection.mutable_index()->set_kind(v1::Index::FLAT);
  collection.set_dimension(dimension);
  // First, so that one whose creation is not answered is not forgotten.
  Note(collection.name());
  names_.push_back(collection.name());
  if (auto response = client_->CreateCollection(request); !response.ok()) return response.status();
  return collection.name();
}

void TemporaryCollections::DeleteAll() {
  MutexLock lock(&mutex_);
  if (ended_) return;
  ended_ = true;
  bool all = true;
  for (const std::string& name : names_) all = Delete(name) && all;
  std::error_code ignored;
  if (all && !record_.empty()) fs::remove(record_, ignored);
}

}  // namespace imagesearch::client
