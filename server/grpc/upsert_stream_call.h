// One UpsertStream. Private to grpc/upsert_stream.cc.
#ifndef IMAGESEARCH_SERVER_GRPC_UPSERT_STREAM_CALL_H_
#define IMAGESEARCH_SERVER_GRPC_UPSERT_STREAM_CALL_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "base/mutex.h"
#include "grpcpp/grpcpp.h"
#include "imagesearch/v1/imagesearch.pb.h"
#include "index/collection.h"
#include "server/call_context.h"
#include "server/grpc/upsert_stream.h"
#include "server/handlers/target.h"

namespace imagesearch::server {

// A message goes: read (gRPC's thread) -> checked and handed to the encoder (a pool thread; blocks
// while the encoder's queue is full, and only then is the next message read) -> encoded -> written
// together with its ready neighbours (a pool thread) -> acknowledged. `entries_` keeps the order.
//
// Step() looks at the state and starts whatever can go on; every event ends in it. Thread-safe.
class UpsertStreamCall final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>,
                               public std::enable_shared_from_this<UpsertStreamCall> {
 public:
  // Then Begin() once. Lives until OnDone and the last task.
  UpsertStreamCall(UpsertStreams* streams, grpc::CallbackServerContext* context);

  // Before Begin: reads the headers and asks who calls.
  absl::Status Identify();
  // One of the streams that this client may have; false when it has them all.
  bool TakeShare();

  void Begin();
  // Ends at once with `status`, instead of Begin().
  void Refuse(const absl::Status& status);
  void Drain();

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  struct Entry {
    uint64_t sequence = 0;
    uint64_t bytes = 0;  // of the message
    std::string id;
    absl::Status status;
    index::UpsertOptions options;
    std::shared_ptr<index::Collection> collection;
    index::UpsertItem item;
    bool ready = false;  // encoded, or failed
    // Set when written.
    uint64_t version = 0;
    bool created = false;
    bool skipped = false;
    std::vector<index::DuplicateRef> duplicates;
  };
  using Entries = std::vector<std::shared_ptr<Entry>>;

  void Step();
  bool WindowHasRoom() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool MayFinish() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  // On a pool thread.
  void Process();
  void Admit(v1::UpsertStreamRequest* request, uint64_t bytes);
  // Whether the caller may still write into `collection`, once its key's rate allows it. Blocks
  // while it does not.
  absl::Status AwaitPermission(const std::string& collection);
  void AddFailed(uint64_t sequence, uint64_t bytes, std::string id, absl::Status status);
  void Commit();
  // The next entries that can be written together, or that failed; empty when none is ready.
  Entries TakeReady();
  void Acknowledge(const Entries& entries);

  UpsertStreams& streams_;
  grpc::CallbackServerContext& context_;
  CallContext call_;
  grpc::ByteBuffer incoming_;  // being read, or being processed
  std::string collection_;     // of the message before; only Process touches it
  bool has_share_ = false;     // of ClientShares; constant after Begin
  AuditSubject audited_;       // stored so far; only Acknowledge touches it

  Mutex mutex_;
  std::deque<std::shared_ptr<Entry>> entries_ ABSL_GUARDED_BY(mutex_);
  std::deque<grpc::ByteBuffer> outbox_ ABSL_GUARDED_BY(mutex_);  // front: being written
  uint64_t window_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  int window_images_ ABSL_GUARDED_BY(mutex_) = 0;  // read and not acknowledged
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool processing_ ABSL_GUARDED_BY(mutex_) = false;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool committing_ ABSL_GUARDED_BY(mutex_) = false;
  bool reads_done_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;  // the client is gone: nothing more is written
  bool finishing_ ABSL_GUARDED_BY(mutex_) = false;
  int starting_ ABSL_GUARDED_BY(mutex_) = 0;  // threads inside StartRead or StartWrite
  // Set: read no more, and end with this. Otherwise the stream ends OK after the client's last.
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);

  std::shared_ptr<UpsertStreamCall> self_;  // until OnDone
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_GRPC_UPSERT_STREAM_CALL_H_
