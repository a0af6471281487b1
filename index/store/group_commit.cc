#include "index/store/group_commit.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/steady_time.h"

namespace imagesearch::index {
namespace {
// Bounds the wait of the last writer of a group, and the size of one RocksDB batch.
constexpr size_t kMaxGroup = 256;
constexpr size_t kMaxGroupBytes = 8 << 20;
}  // namespace

void GroupCommit::Open(RocksStore* store) {
  MutexLock lock(&mutex_);
  store_ = store;
  // A write that failed may have reached the log: then its version is taken.
  version_.store(std::max(version_.load(), store->recovered_version()));
  changed_.SignalAll();
}

void GroupCommit::Advance(uint64_t version) {
  MutexLock lock(&mutex_);
  version_.store(version);
  changed_.SignalAll();
}

absl::Status GroupCommit::Run(const Stage& stage, bool exclusive) {
  if (store_ == nullptr) {
    return Error(absl::StatusCode::kFailedPrecondition, "READ_ONLY",
                 "this is a reader: writes go to the writer of the data folder");
  }
  Writer writer{&stage, exclusive, absl::OkStatus()};
  std::vector<Writer*> group;
  {
    MutexLock lock(&mutex_);
    queue_.push_back(&writer);
    while (!writer.done && queue_.front() != &writer) changed_.Wait(&mutex_);
    if (writer.done) return writer.status;
    for (Writer* next : queue_) {
      if (!group.empty() && (exclusive || next->exclusive)) break;
      if (group.size() == kMaxGroup) break;
      group.push_back(next);
    }
  }
  Commit(group.data(), group.size());
  MutexLock lock(&mutex_);
  // Writers that Commit left for the next group stay queued.
  while (!queue_.empty() && queue_.front()->staged) {
    queue_.front()->done = true;
    queue_.pop_front();
  }
  changed_.SignalAll();
  return writer.status;
}

void GroupCommit::Commit(Writer* const* writers, size_t count) {
  WriteGroup group(store_, version_.load() + 1);
  size_t staged = 0;
  for (; staged < count && (staged == 0 || group.bytes() < kMaxGroupBytes); ++staged) {
    writers[staged]->status = (*writers[staged]->stage)(&group);
    writers[staged]->staged = true;
  }
  if (group.empty()) return;
  absl::Status status = store_->Commit(group.Seal(), group.last_version());
  if (status.ok()) {
    group.Publish(store_->Snapshot());
    version_.store(group.last_version());
    return;
  }
  for (size_t i = 0; i < staged; ++i) {
    if (writers[i]->status.ok()) writers[i]->status = status;
  }
}

absl::Status GroupCommit::WaitForVersion(uint64_t version, absl::Time deadline) {
  if (version_.load() >= version) return absl::OkStatus();
  const absl::Duration wait = std::min(deadline - SteadyNow(), absl::Hours(24 * 365));
  const auto until = CondVar::Clock::now() + absl::ToChronoNanoseconds(wait);
  MutexLock lock(&mutex_);
  while (version_.load() < version) {
    if (!changed_.WaitUntil(&mutex_, until) && version_.load() < version) {
      return Error(
          absl::StatusCode::kDeadlineExceeded, "VERSION_NOT_REACHED",
          absl::StrCat("this server is at version ", version_.load(), ", not yet at ", version));
    }
  }
  return absl::OkStatus();
}

}  // namespace imagesearch::index
