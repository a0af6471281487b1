// One entry for each operation, one thread for each that works.
#include "server/operations/operations.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <exception>
#include <utility>

#include "absl/random/random.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/steady_time.h"
#include "server/grpc_status.h"
#include "server/logging.h"
#include "server/operations/operation_log.h"

namespace imagesearch::server {
namespace {

constexpr int kNiceness = 10;
// Progress is written to disk at most this often; states always are.
constexpr absl::Duration kSaveInterval = absl::Seconds(2);

google::protobuf::Timestamp Now() {
  google::protobuf::Timestamp time;
  const absl::Time now = absl::Now();
  time.set_seconds(absl::ToUnixSeconds(now));
  time.set_nanos(static_cast<int32_t>((absl::ToUnixNanos(now) % 1'000'000'000)));
  return time;
}

bool HasEnded(const v1::Operation& operation) {
  return operation.state() != v1::Operation::RUNNING && operation.state() != v1::Operation::PAUSED;
}

std::string NewId(v1::Operation::Kind kind) {
  absl::BitGen random;
  return absl::StrCat(absl::AsciiStrToLower(v1::Operation::Kind_Name(kind)), "-",
                      absl::Hex(absl::Uniform<uint32_t>(random), absl::kZeroPad8));
}

void End(const absl::Status& status, v1::Operation* operation) {
  operation->set_state(status.ok() ? v1::Operation::SUCCEEDED : v1::Operation::FAILED);
  *operation->mutable_end_time() = Now();
  if (!status.ok()) FillStatus(status, operation->mutable_error());
}

}  // namespace

absl::Status OperationRun::Continue() { return operations_.Continue(*this); }

void OperationRun::Report(uint64_t done, uint64_t total) {
  MutexLock lock(&operations_.mutex_);
  for (auto& [number, entry] : operations_.entries_) {
    if (entry.run.get() != this) continue;
    entry.record.mutable_operation()->set_done(done);
    entry.record.mutable_operation()->set_total(total);
  }
  if (SteadyNow() - operations_.saved_ >= kSaveInterval) operations_.Save();
}

void OperationRun::Describe(const std::string& detail) {
  MutexLock lock(&operations_.mutex_);
  for (auto& [number, entry] : operations_.entries_) {
    if (entry.run.get() == this) entry.record.mutable_operation()->set_detail(detail);
  }
}

bool OperationRun::interrupted() const {
  MutexLock lock(&operations_.mutex_);
  for (const auto& [number, entry] : operations_.entries_) {
    if (entry.run.get() == this) return !HasEnded(entry.record.operation());
  }
  return false;
}

absl::Status OperationRun::PauseSelf(const std::string& why) {
  Describe(why);
  // Somebody may have cancelled it just now: then Continue says so.
  operations_.Pause(id_).status().IgnoreError();
  return Continue();
}

absl::StatusOr<std::unique_ptr<Operations>> Operations::Open(const std::string& path) {
  std::unique_ptr<Operations> operations(new Operations(path));
  if (path.empty()) return operations;
  auto log = ReadOperationLog(path);
  if (!log.ok()) return log.status();
  MutexLock lock(&operations->mutex_);
  for (OperationRecord& record : *log->mutable_records()) {
    if (!HasEnded(record.operation()) && record.resume().empty()) {
      End(Error(absl::StatusCode::kUnavailable, "INTERRUPTED",
                "the server stopped meanwhile; nothing is half-made: start it again"),
          record.mutable_operation());
    }
    operations->entries_[operations->next_++].record = std::move(record);
  }
  return operations;
}

Operations::~Operations() { Stop(); }

void Operations::Restore(const std::function<absl::StatusOr<Body>(const Spec& spec)>& make) {
  MutexLock lock(&mutex_);
  for (auto& [number, entry] : entries_) {
    v1::Operation& operation = *entry.record.mutable_operation();
    if (HasEnded(operation) || entry.run != nullptr) continue;
    absl::StatusOr<Body> body =
        make({operation.kind(), operation.collection(), entry.record.resume()});
    if (body.ok()) {
      Launch(entry, *std::move(body));
    } else {
      End(body.status(), &operation);
    }
  }
  Save();
}

absl::StatusOr<v1::Operation> Operations::Start(const Spec& spec, Body body) {
  MutexLock lock(&mutex_);
  if (stopping_) {
    return Error(absl::StatusCode::kUnavailable, "DRAINING", "the server is stopping");
  }
  Trim();
  int active = 0;
  for (const auto& [number, entry] : entries_) {
    const v1::Operation& other = entry.record.operation();
    if (HasEnded(other)) continue;
    ++active;
    if (other.collection() == spec.collection && other.kind() == spec.kind) {
      return Error(absl::StatusCode::kFailedPrecondition, "OPERATION_RUNNING",
                   absl::StrCat("operation ", other.id(), " does that already"));
    }
  }
  if (active >= kMaxActive) {
    return Error(
        absl::StatusCode::kResourceExhausted, "TOO_MANY_OPERATIONS",
        absl::StrCat(active, " operations have not ended, and ", kMaxActive, " are the limit"));
  }
  Entry& entry = entries_[next_++];
  v1::Operation& operation = *entry.record.mutable_operation();
  operation.set_id(NewId(spec.kind));
  operation.set_kind(spec.kind);
  operation.set_collection(spec.collection);
  operation.set_state(v1::Operation::RUNNING);
  *operation.mutable_create_time() = Now();
  entry.record.set_resume(spec.resume);
  Save();
  const v1::Operation started = operation;
  Launch(entry, std::move(body));
  return started;
}

void Operations::Launch(Entry& entry, Body body) {
  entry.run.reset(new OperationRun(this, entry.record.operation().id()));
  entry.thread =
      std::thread([this, run = entry.run.get(), body = std::move(body)] { Work(run, body); });
}

void Operations::Work(OperationRun* run, const Body& body) {
  setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), kNiceness);
  absl::Status status = Continue(*run);
  if (status.ok()) {
    try {
      status = body(*run);
    } catch (const std::exception& exception) {
      status = absl::InternalError(absl::StrCat("exception in an operation: ", exception.what()));
    }
  }
  MutexLock lock(&mutex_);
  for (auto& [number, entry] : entries_) {
    if (entry.run.get() != run) continue;
    v1::Operation& operation = *entry.record.mutable_operation();
    const bool interrupted = stopping_ && !status.ok() && absl::IsCancelled(status);
    // What was cancelled when it was through already has succeeded all the same.
    if (status.ok() || (!HasEnded(operation) && !interrupted)) End(status, &operation);
    // What was interrupted and can't go on is told by the next Open.
    Log(status.ok() ? LogLevel::kInfo : LogLevel::kWarn, "operation",
        {{"id", operation.id()},
         {"collection", operation.collection()},
         {"state", v1::Operation::State_Name(operation.state())},
         {"cause", std::string(status.message())}});
    entry.finished = true;
  }
  Save();
}

absl::Status Operations::Continue(OperationRun& run) {
  MutexLock lock(&mutex_);
  while (true) {
    if (run.cancelled_->load()) {
      return Error(absl::StatusCode::kCancelled, "CANCELLED", "the operation was cancelled");
    }
    bool paused = false;
    for (const auto& [number, entry] : entries_) {
      paused |=
          entry.run.get() == &run && entry.record.operation().state() == v1::Operation::PAUSED;
    }
    if (!paused) return absl::OkStatus();
    changed_.Wait(&mutex_);
  }
}

std::vector<v1::Operation> Operations::List() const {
  MutexLock lock(&mutex_);
  std::vector<v1::Operation> all;
  for (auto entry = entries_.rbegin(); entry != entries_.rend(); ++entry) {
    all.push_back(entry->second.record.operation());
  }
  return all;
}

absl::StatusOr<v1::Operation> Operations::Get(const std::string& id) const {
  for (v1::Operation& operation : List()) {
    if (operation.id() == id) return std::move(operation);
  }
  return Error(
      absl::StatusCode::kNotFound, "NO_SUCH_OPERATION",
      absl::StrCat("no operation of this id; the last ", kMaxEnded, " that ended are kept"));
}

absl::StatusOr<Operations::Entry*> Operations::FindActive(const std::string& id) {
  for (auto& [number, entry] : entries_) {
    if (entry.record.operation().id() != id) continue;
    if (!HasEnded(entry.record.operation())) return &entry;
    return Error(absl::StatusCode::kFailedPrecondition, "OPERATION_ENDED",
                 absl::StrCat("operation ", id, " has ended"));
  }
  return Error(absl::StatusCode::kNotFound, "NO_SUCH_OPERATION", "no operation of this id");
}

absl::StatusOr<v1::Operation> Operations::Cancel(const std::string& id) {
  MutexLock lock(&mutex_);
  auto entry = FindActive(id);
  if (!entry.ok()) return entry.status();
  v1::Operation& operation = *(*entry)->record.mutable_operation();
  operation.set_state(v1::Operation::CANCELLED);
  *operation.mutable_end_time() = Now();
  if ((*entry)->run != nullptr) (*entry)->run->cancelled_->store(true);
  changed_.SignalAll();
  Save();
  return operation;
}

absl::StatusOr<v1::Operation> Operations::Pause(const std::string& id) {
  MutexLock lock(&mutex_);
  auto entry = FindActive(id);
  if (!entry.ok()) return entry.status();
  if ((*entry)->record.resume().empty()) {
    return Error(absl::StatusCode::kFailedPrecondition, "NOT_PAUSABLE",
                 "operations of this kind run through; this one can be cancelled");
  }
  (*entry)->record.mutable_operation()->set_state(v1::Operation::PAUSED);
  Save();
  return (*entry)->record.operation();
}

absl::StatusOr<v1::Operation> Operations::Resume(const std::string& id) {
  MutexLock lock(&mutex_);
  auto entry = FindActive(id);
  if (!entry.ok()) return entry.status();
  (*entry)->record.mutable_operation()->set_state(v1::Operation::RUNNING);
  changed_.SignalAll();
  Save();
  return (*entry)->record.operation();
}

bool Operations::IsActive(v1::Operation::Kind kind, const std::string& collection) const {
  MutexLock lock(&mutex_);
  return std::any_of(entries_.begin(), entries_.end(), [&](const auto& numbered) {
    const v1::Operation& operation = numbered.second.record.operation();
    return !HasEnded(operation) && operation.kind() == kind && operation.collection() == collection;
  });
}

void Operations::Trim() {
  int ended = 0;
  for (const auto& [number, entry] : entries_) ended += HasEnded(entry.record.operation());
  for (auto entry = entries_.begin(); entry != entries_.end();) {
    if (entry->second.finished && entry->second.thread.joinable()) entry->second.thread.join();
    const bool idle = !entry->second.thread.joinable();
    if (ended >= kMaxEnded && idle && HasEnded(entry->second.record.operation())) {
      --ended;
      entry = entries_.erase(entry);
    } else {
      ++entry;
    }
  }
}

void Operations::Save() {
  saved_ = SteadyNow();
  if (path_.empty()) return;
  OperationLog log;
  for (const auto& [number, entry] : entries_) *log.add_records() = entry.record;
  absl::Status status = WriteOperationLog(path_, log);
  if (!status.ok()) {
    Log(LogLevel::kError, "operations can't be saved", {{"cause", std::string(status.message())}});
  }
}

void Operations::Stop() {
  std::vector<std::thread> threads;
  {
    MutexLock lock(&mutex_);
    stopping_ = true;
    for (auto& [number, entry] : entries_) {
      if (entry.run != nullptr) entry.run->cancelled_->store(true);
      if (entry.thread.joinable()) threads.push_back(std::move(entry.thread));
    }
    changed_.SignalAll();
  }
  for (std::thread& thread : threads) thread.join();
}

}  // namespace imagesearch::server
