// The state of one stream and what each event does to it.
#include "server/grpc/upsert_stream_call.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/steady_time.h"
#include "google/protobuf/unknown_field_set.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "server/grpc/request_parser.h"
#include "server/grpc/unary_call.h"
#include "server/grpc_status.h"
#include "server/handlers/convert.h"
#include "server/handlers/upsert_item.h"
#include "server/methods.h"

namespace imagesearch::server {
namespace {

constexpr int kSequenceField = 1;

// The sequence of a message that does not parse for a string that is not UTF-8.
uint64_t SequenceOf(const grpc::ByteBuffer& bytes) {
  std::vector<grpc::Slice> slices;
  std::string flat;
  if (!bytes.Dump(&slices).ok()) return 0;
  for (const grpc::Slice& slice : slices) {
    flat.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
  }
  google::protobuf::UnknownFieldSet fields;
  if (!fields.ParseFromString(flat)) return 0;
  uint64_t sequence = 0;
  for (int i = 0; i < fields.field_count(); ++i) {
    const google::protobuf::UnknownField& field = fields.field(i);
    if (field.number() == kSequenceField &&
        field.type() == google::protobuf::UnknownField::TYPE_VARINT) {
      sequence = field.varint();
    }
  }
  return sequence;
}

}  // namespace

UpsertStreamCall::UpsertStreamCall(UpsertStreams* streams, grpc::CallbackServerContext* context)
    : streams_(*streams), context_(*context) {}

absl::Status UpsertStreamCall::Identify() {
  const Access& access = *streams_.guard_.access;
  absl::Status status = ReadGrpcContext(context_, &call_);
  if (status.ok()) status = access.Identify(Header(context_, "authorization"), &call_);
  if (status.ok()) status = access.Authorize(Scope::kWrite, Demand(), call_);
  if (status.ok()) status = access.Meter(0, &call_);
  return status;
}

bool UpsertStreamCall::TakeShare() {
  has_share_ = streams_.shares_.Take(call_.client, 0, 1,
                                     static_cast<uint64_t>(streams_.options_.max_client_streams));
  return has_share_;
}

void UpsertStreamCall::Begin() {
  self_ = shared_from_this();
  Step();
}

void UpsertStreamCall::Refuse(const absl::Status& status) {
  self_ = shared_from_this();
  {
    MutexLock lock(&mutex_);
    end_ = status;
  }
  Step();
}

void UpsertStreamCall::Drain() {
  {
    MutexLock lock(&mutex_);
    if (end_) return;
    end_ = WithRetryAfter(Error(absl::StatusCode::kUnavailable, "DRAINING",
                                "the server is stopping: acknowledged images are stored, send the "
                                "others again"),
                          absl::Seconds(1));
  }
  Step();
}

bool UpsertStreamCall::WindowHasRoom() const {
  return window_images_ < streams_.options_.window_images &&
         window_bytes_ < streams_.options_.window_bytes &&
         // A client that reads no acknowledgements is read from no more.
         static_cast<int>(outbox_.size()) < 4 * streams_.options_.window_images;
}

bool UpsertStreamCall::MayFinish() const {
  return !finishing_ && starting_ == 0 && !processing_ && !committing_ && !writing_ &&
         entries_.empty() && outbox_.empty() && (reads_done_ || end_ || broken_);
}

void UpsertStreamCall::Step() {
  const std::shared_ptr<UpsertStreamCall> keep = shared_from_this();
  bool again = true;
  while (again) {
    again = false;
    bool read = false, commit = false;
    const grpc::ByteBuffer* write = nullptr;
    bool more_to_write = false;
    std::optional<absl::Status> finish;
    {
      MutexLock lock(&mutex_);
      if (finishing_) return;
      if (broken_ && !writing_) outbox_.clear();
      if (!reading_ && !processing_ && !reads_done_ && !end_ && !broken_ && WindowHasRoom()) {
        reading_ = read = true;
      }
      if (!writing_ && !outbox_.empty()) {
        writing_ = true;
        write = &outbox_.front();
        more_to_write = outbox_.size() > 1;
      }
      if (!committing_ && !entries_.empty() && entries_.front()->ready) committing_ = commit = true;
      if (read || write != nullptr) ++starting_;
      if (MayFinish()) {
        finishing_ = true;
        finish = end_.value_or(absl::OkStatus());
        if (broken_) finish = absl::CancelledError("the client went away");
      }
    }
    if (finish) {
      streams_.metrics_.RecordCall("UpsertStream", *finish, SteadyNow() - call_.start);
      AddTrailers(*finish, call_, &context_);
      if (streams_.guard_.audit != nullptr) {
        streams_.guard_.audit->Write("UpsertStream", call_, audited_, *finish);
      }
      Finish(GrpcStatus(*finish));
      return;
    }
    if (commit) {
      WorkerPool::Task task = [keep] { keep->Commit(); };
      streams_.pool_.TrySubmit(task);
    }
    if (read) StartRead(&incoming_);
    if (write != nullptr) {
      grpc::WriteOptions options;
      if (more_to_write) options.set_buffer_hint();
      StartWrite(write, options);
    }
    if (read || write != nullptr) {
      MutexLock lock(&mutex_);
      --starting_;
      again = MayFinish();
    }
  }
}

void UpsertStreamCall::OnReadDone(bool ok) {
  const std::shared_ptr<UpsertStreamCall> keep = shared_from_this();
  bool process = false;
  {
    MutexLock lock(&mutex_);
    reading_ = false;
    if (!ok) {
      reads_done_ = true;
    } else if (!end_ && !broken_) {
      processing_ = process = true;
      window_bytes_ += incoming_.Length();
      ++window_images_;
    }
  }
  if (process) {
    WorkerPool::Task task = [keep] { keep->Process(); };
    streams_.pool_.TrySubmit(task);
    return;
  }
  Step();
}

void UpsertStreamCall::OnWriteDone(bool ok) {
  {
    MutexLock lock(&mutex_);
    writing_ = false;
    outbox_.pop_front();
    if (!ok) broken_ = true;
  }
  Step();
}

void UpsertStreamCall::OnCancel() {
  call_.cancelled->store(true);
  {
    MutexLock lock(&mutex_);
    broken_ = true;
  }
  Step();
}

void UpsertStreamCall::OnDone() {
  if (has_share_) streams_.shares_.Give(call_.client, 0, 1);
  streams_.Remove(this);
  const std::shared_ptr<UpsertStreamCall> last = std::move(self_);
}

void UpsertStreamCall::Process() {
  const std::shared_ptr<UpsertStreamCall> keep = shared_from_this();
  const uint64_t bytes = incoming_.Length();
  v1::UpsertStreamRequest request;
  absl::Status status = ParseRequest(incoming_, &request);
  if (status.ok()) {
    incoming_.Clear();
    Admit(&request, bytes);
  } else if (ReasonOf(status) == "INVALID_UTF8") {
    AddFailed(SequenceOf(incoming_), bytes, "", std::move(status));
  } else {
    // Without its sequence nobody can be told which message it was.
    MutexLock lock(&mutex_);
    window_bytes_ -= bytes;
    --window_images_;
    end_ = std::move(status);
  }
  {
    MutexLock lock(&mutex_);
    processing_ = false;
  }
  Step();
}

void UpsertStreamCall::Admit(v1::UpsertStreamRequest* request, uint64_t bytes) {
  if (!request->collection().empty()) collection_ = std::move(*request->mutable_collection());
  absl::Status permitted = AwaitPermission(collection_.empty() ? kDefaultCollection : collection_);
  if (!permitted.ok()) {
    AddFailed(request->sequence(), bytes, request->image().id(), std::move(permitted));
    return;
  }
  absl::StatusOr<Target> target = FindTarget(streams_.state_, collection_);
  absl::StatusOr<index::UpsertOptions> upsert =
      ToUpsertOptions(request->create_only(), request->on_duplicate(), request->duplicate_tier());
  std::string id;
  absl::StatusOr<UpsertDraft> draft =
      !target.ok() ? target.status()
      : !upsert.ok()
          ? upsert.status()
          : DraftUpsert(request->mutable_image(), *target, streams_.state_.limits(), &id);
  if (!draft.ok()) {
    AddFailed(request->sequence(), bytes, std::move(id),
              target.ok() && upsert.ok() ? AtField(draft.status(), "image") : draft.status());
    return;
  }
  auto entry = std::make_shared<Entry>();
  entry->sequence = request->sequence();
  entry->bytes = bytes;
  entry->id = std::move(id);
  entry->options = *upsert;
  entry->collection = target->collection;
  entry->item = std::move(draft->item);
  entry->ready = !draft->input;
  {
    MutexLock lock(&mutex_);
    entries_.push_back(entry);
  }
  if (!draft->input) return;
  encoder::EncodeOptions options = call_.EncodeOptions(encoder::Priority::kBulk);
  options.wait_for_room = true;
  // The stream's deadline cancels it when it comes; no message is refused because it is near.
  options.deadline = absl::InfiniteFuture();
  target->encoder->EncodeAsync(
      *std::move(draft->input), options,
      [keep = shared_from_this(), entry](absl::StatusOr<encoder::Embedding> embedding) {
        {
          MutexLock lock(&keep->mutex_);
          entry->ready = true;
          if (embedding.ok()) {
            SetEmbedding(*std::move(embedding), &entry->item);
          } else {
            entry->status = AtField(embedding.status(), "image.content");
          }
        }
        keep->Step();
      });
}

absl::Status UpsertStreamCall::AwaitPermission(const std::string& collection) {
  const Access& access = *streams_.guard_.access;
  while (true) {
    absl::StatusOr<std::shared_ptr<const ActiveKey>> key = access.Recheck(call_);
    if (!key.ok()) return key.status();
    if (*key == nullptr) return absl::OkStatus();
    absl::Status status = Access::Authorize(**key, Scope::kWrite, {{collection}});
    if (!status.ok()) return status;
    const absl::Duration wait = Access::Take(**key, 1);
    if (wait <= absl::ZeroDuration()) return absl::OkStatus();
    {
      MutexLock lock(&mutex_);
      if (end_ || broken_) return absl::CancelledError("the stream has ended");
    }
    absl::SleepFor(std::min(wait, absl::Milliseconds(100)));
  }
}

void UpsertStreamCall::AddFailed(uint64_t sequence, uint64_t bytes, std::string id,
                                 absl::Status status) {
  auto entry = std::make_shared<Entry>();
  entry->sequence = sequence;
  entry->bytes = bytes;
  entry->id = std::move(id);
  entry->status = std::move(status);
  entry->ready = true;
  MutexLock lock(&mutex_);
  entries_.push_back(std::move(entry));
}

UpsertStreamCall::Entries UpsertStreamCall::TakeReady() {
  Entries taken;
  MutexLock lock(&mutex_);
  while (!entries_.empty() && entries_.front()->ready &&
         static_cast<int>(taken.size()) < streams_.options_.max_commit) {
    const std::shared_ptr<Entry>& next = entries_.front();
    // Failed ones need no write, so they go with any.
    if (next->status.ok()) {
      for (const auto& first : taken) {
        if (!first->status.ok()) continue;
        if (first->collection != next->collection || !(first->options == next->options)) {
          return taken;
        }
        break;
      }
    }
    taken.push_back(next);
    entries_.pop_front();
  }
  if (taken.empty()) committing_ = false;
  return taken;
}

void UpsertStreamCall::Commit() {
  const std::shared_ptr<UpsertStreamCall> keep = shared_from_this();
  for (Entries taken = TakeReady(); !taken.empty(); taken = TakeReady()) {
    Entries to_write;
    std::vector<index::UpsertItem> items;
    for (const auto& entry : taken) {
      if (!entry->status.ok()) continue;
      to_write.push_back(entry);
      items.push_back(std::move(entry->item));
    }
    // Nobody waits for an acknowledgement any more: nothing is promised, nothing is written.
    const bool abandoned = call_.cancelled->load();
    if (!items.empty() && !abandoned) {
      auto written = to_write[0]->collection->Upsert(std::move(items), to_write[0]->options);
      for (size_t i = 0; i < to_write.size(); ++i) {
        Entry& entry = *to_write[i];
        if (written.ok()) {
          entry.status = written->items[i].status;
          entry.created = written->items[i].created;
          entry.skipped = written->items[i].skipped;
          entry.duplicates = std::move(written->items[i].duplicates);
          entry.version = entry.status.ok() && !entry.skipped ? written->version : 0;
        } else {
          entry.status = written.status();
        }
      }
    }
    Acknowledge(taken);
    Step();
  }
  Step();
}

void UpsertStreamCall::Acknowledge(const Entries& entries) {
  std::vector<grpc::ByteBuffer> acks(entries.size());
  uint64_t bytes = 0;
  const bool abandoned = call_.cancelled->load();
  for (size_t i = 0; i < entries.size(); ++i) {
    Entry& entry = *entries[i];
    bytes += entry.bytes;
    if (entry.status.ok() && entry.version > 0) {
      ++audited_.items;
      if (audited_.ids.size() < 10) audited_.ids.push_back(entry.id);
      const std::string name = entry.collection->options().name;
      if (std::find(audited_.collections.begin(), audited_.collections.end(), name) ==
          audited_.collections.end()) {
        audited_.collections.push_back(name);
      }
    }
    if (abandoned) continue;
    streams_.metrics_.RecordStreamItem(entry.status);
    v1::UpsertStreamResponse response;
    response.set_sequence(entry.sequence);
    response.set_id(entry.id);
    FillStatus(entry.status, response.mutable_status());
    response.set_version(entry.version);
    response.set_created(entry.created);
    response.set_skipped(entry.skipped);
    for (index::DuplicateRef& duplicate : entry.duplicates) {
      FillDuplicate(std::move(duplicate), response.add_duplicates());
    }
    bool own = false;
    grpc::SerializationTraits<v1::UpsertStreamResponse>::Serialize(response, &acks[i], &own);
  }
  MutexLock lock(&mutex_);
  window_bytes_ -= bytes;
  window_images_ -= static_cast<int>(entries.size());
  if (broken_ || abandoned) return;
  for (grpc::ByteBuffer& ack : acks) outbox_.push_back(std::move(ack));
}

}  // namespace imagesearch::server
