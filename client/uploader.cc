// See uploader.h. Two threads: one opens streams and writes, one (for each stream) reads the acks.
// An image stays in `pending_` until its ack; whatever is there when a stream ends is sent again.
#include "client/uploader.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "client/status.h"

namespace imagesearch::client {
namespace {

using Clock = CondVar::Clock;

constexpr absl::Duration kFirstBackoff = absl::Milliseconds(200);
constexpr absl::Duration kLongestBackoff = absl::Seconds(10);
// Ends of a stream that should not happen (UNKNOWN, INTERNAL, ...) are forgiven this often in a
// row.
constexpr int kStrangeEnds = 3;

Clock::time_point In(absl::Duration duration) {
  return Clock::now() + absl::ToChronoNanoseconds(duration);
}

bool MeansTryLater(absl::StatusCode code) {
  return code == absl::StatusCode::kUnavailable || code == absl::StatusCode::kResourceExhausted ||
         code == absl::StatusCode::kAborted;
}

bool IsStrangeEnd(absl::StatusCode code) {
  return code == absl::StatusCode::kUnknown || code == absl::StatusCode::kInternal ||
         code == absl::StatusCode::kCancelled || code == absl::StatusCode::kDeadlineExceeded;
}

absl::Duration Backoff(int attempt) {
  absl::Duration delay = kFirstBackoff;
  for (int i = 1; i < attempt && delay < kLongestBackoff; ++i) delay *= 2;
  return std::min(delay, kLongestBackoff);
}

}  // namespace

Uploader::Uploader(const Client* client, UploaderOptions options, OnDone on_done)
    : client_(client),
      options_(std::move(options)),
      on_done_(std::move(on_done)),
      last_progress_(Clock::now()),
      thread_([this] { Run(); }) {}

Uploader::~Uploader() {
  if (!thread_.joinable()) return;
  Cancel();
  thread_.join();
}

absl::Status Uploader::Add(uint64_t token, v1::Image image) {
  const size_t bytes = image.ByteSizeLong();
  MutexLock lock(&mutex_);
  while (ended_.ok() && !pending_.empty() &&
         (pending_.size() >= options_.window_images ||
          pending_bytes_ + bytes > options_.window_bytes)) {
    changed_.WaitUntil(&mutex_, In(absl::Seconds(1)));
    EndJobIfStuck();
  }
  if (!ended_.ok()) return ended_;
  if (closed_) return absl::FailedPreconditionError("the upload has been finished");
  if (pending_.empty()) last_progress_ = Clock::now();
  Pending& pending = pending_[next_sequence_++];
  pending.token = token;
  pending.image = std::move(image);
  pending.bytes = bytes;
  pending_bytes_ += bytes;
  changed_.SignalAll();
  return absl::OkStatus();
}

absl::Status Uploader::Finish() {
  {
    MutexLock lock(&mutex_);
    closed_ = true;
    changed_.SignalAll();
    while (ended_.ok() && !pending_.empty()) {
      changed_.WaitUntil(&mutex_, In(absl::Seconds(1)));
      EndJobIfStuck();
    }
  }
  if (thread_.joinable()) thread_.join();
  MutexLock lock(&mutex_);
  return ended_;
}

void Uploader::Cancel() {
  MutexLock lock(&mutex_);
  closed_ = true;
  EndJob(absl::CancelledError("the upload was cancelled"));
}

int Uploader::connections() const {
  MutexLock lock(&mutex_);
  return connections_;
}

void Uploader::EndJob(const absl::Status& status) {
  if (ended_.ok()) ended_ = status;
  if (context_ != nullptr) context_->TryCancel();
  changed_.SignalAll();
}

void Uploader::EndJobIfStuck() {
  if (pending_.empty() ||
      Clock::now() - last_progress_ < absl::ToChronoNanoseconds(options_.give_up_after)) {
    return;
  }
  EndJob(Error(absl::StatusCode::kUnavailable, "NO_PROGRESS",
               absl::StrCat("the server has acknowledged nothing for ",
                            absl::FormatDuration(options_.give_up_after), " (", connections_,
                            " connections)")));
}

void Uploader::Run() {
  int attempts_without_ack = 0;
  int strange_ends = 0;
  while (true) {
    Clock::time_point opened;
    {
      MutexLock lock(&mutex_);
      while (pending_.empty() && !closed_ && ended_.ok()) changed_.Wait(&mutex_);
      if (!ended_.ok() || pending_.empty()) break;
      opened = Clock::now();
    }
    const absl::Status end = RunStream();

    MutexLock lock(&mutex_);
    if (!ended_.ok() || (closed_ && pending_.empty())) break;
    const bool progress = last_progress_ > opened;
    attempts_without_ack = progress ? 1 : attempts_without_ack + 1;
    strange_ends = progress ? 0 : strange_ends;
    if (IsStrangeEnd(end.code()) ? ++strange_ends > kStrangeEnds
                                 : !end.ok() && !MeansTryLater(end.code())) {
      ended_ = end;
      break;
    }
    for (auto& [sequence, pending] : pending_) pending.sent = false;
    const auto wake = In(
        std::max(RetryAfterOf(end).value_or(absl::ZeroDuration()), Backoff(attempts_without_ack)));
    while (ended_.ok() && Clock::now() < wake) changed_.WaitUntil(&mutex_, wake);
  }
  FailWhatIsLeft();
}

absl::Status Uploader::RunStream() {
  grpc::ClientContext context;
  std::unique_ptr<Client::UpsertStream> stream = client_->OpenUpsertStream(&context);
  {
    MutexLock lock(&mutex_);
    context_ = &context;
    stream_ended_ = false;
    ++connections_;
    if (!ended_.ok()) context.TryCancel();
  }
  std::thread reader([this, &stream] { ReadAcks(stream.get()); });
  WriteAll(stream.get());
  reader.join();
  {
    MutexLock lock(&mutex_);
    context_ = nullptr;
  }
  const grpc::Status status = stream->Finish();
  return FromGrpc(status, &context);
}

std::pair<const uint64_t, Uploader::Pending>* Uploader::NextToSend() {
  const Clock::time_point now = Clock::now();
  for (auto& entry : pending_) {
    if (!entry.second.sent && entry.second.not_before <= now) return &entry;
  }
  return nullptr;
}

void Uploader::WriteAll(Client::UpsertStream* stream) {
  while (true) {
    v1::UpsertStreamRequest request;
    {
      MutexLock lock(&mutex_);
      std::pair<const uint64_t, Pending>* next = nullptr;
      while (true) {
        if (stream_ended_ || !ended_.ok()) return;
        next = NextToSend();
        if (next != nullptr || (closed_ && pending_.empty())) break;
        changed_.WaitUntil(&mutex_, In(absl::Milliseconds(500)));
      }
      if (next == nullptr) break;
      next->second.sent = true;
      request.set_sequence(next->first);
      request.set_collection(options_.collection);
      request.set_create_only(options_.create_only);
      request.set_on_duplicate(options_.on_duplicate);
      request.set_duplicate_tier(options_.duplicate_tier);
      *request.mutable_image() = next->second.image;
    }
    if (!stream->Write(request)) return;
  }
  stream->WritesDone();
}

void Uploader::ReadAcks(Client::UpsertStream* stream) {
  v1::UpsertStreamResponse response;
  while (stream->Read(&response)) {
    Outcome outcome;
    {
      MutexLock lock(&mutex_);
      const auto it = pending_.find(response.sequence());
      if (it == pending_.end()) continue;
      Pending& pending = it->second;
      outcome.status = FromItem(response.status());
      last_progress_ = Clock::now();
      if (MeansTryLater(outcome.status.code()) && ++pending.attempts < options_.item_attempts) {
        pending.sent = false;
        pending.not_before = In(Backoff(pending.attempts));
        continue;
      }
      outcome.token = pending.token;
      pending_bytes_ -= pending.bytes;
      pending_.erase(it);
    }
    outcome.id = response.id();
    outcome.version = response.version();
    outcome.created = response.created();
    outcome.skipped = response.skipped();
    outcome.duplicates.assign(response.duplicates().begin(), response.duplicates().end());
    on_done_(outcome);
    MutexLock lock(&mutex_);
    changed_.SignalAll();
  }
  MutexLock lock(&mutex_);
  stream_ended_ = true;
  changed_.SignalAll();
}

void Uploader::FailWhatIsLeft() {
  std::map<uint64_t, Pending> left;
  absl::Status status;
  {
    MutexLock lock(&mutex_);
    left.swap(pending_);
    pending_bytes_ = 0;
    status = ended_;
    changed_.SignalAll();
  }
  for (auto& [sequence, pending] : left) {
    on_done_({.token = pending.token, .id = pending.image.id(), .status = status});
  }
}

}  // namespace imagesearch::client
