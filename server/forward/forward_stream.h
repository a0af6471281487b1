// One UpsertStream between a client and the writer. Private to server/forward.
#ifndef IMAGESEARCH_SERVER_FORWARD_FORWARD_STREAM_H_
#define IMAGESEARCH_SERVER_FORWARD_FORWARD_STREAM_H_

#include <memory>
#include <optional>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "base/mutex.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "server/call_context.h"
#include "server/forward/forwarder.h"

namespace imagesearch::server {

// Two chains: read from the client, write to the writer, read again; and read from the writer,
// write to the client, read again. The one ends with the client's last message (or a drain), the
// other with the writer's; then the client gets the writer's status. Thread-safe.
class ForwardStream final : public grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
 public:
  ForwardStream(Forwarder* forwarder, grpc::CallbackServerContext* context);

  // Once. Ends at once with `refusal` unless it is OK, and with what `access` says of the caller.
  void Begin(absl::Status refusal, const Access& access, grpc::GenericStub* stub);
  // Reads no more from the client.
  void Drain();

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

 private:
  // The call to the writer.
  class ToWriter final : public grpc::ClientBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer> {
   public:
    explicit ToWriter(ForwardStream* stream) : stream_(*stream) {}
    void OnWriteDone(bool ok) override { stream_.OnSent(ok); }
    void OnReadDone(bool ok) override { stream_.OnReceived(ok); }
    void OnDone(const grpc::Status& status) override { stream_.OnEnd(status); }

   private:
    ForwardStream& stream_;
  };

  void OnSent(bool ok);
  void OnReceived(bool ok);
  void OnEnd(const grpc::Status& status);
  absl::Status Identify(const Access& access);
  // The writer is ready, or why the stream ends.
  void Open(absl::Status status);
  // Nothing more goes to the writer.
  void CloseWrites(bool half_close) ABSL_LOCKS_EXCLUDED(mutex_);
  void FinishIfOver() ABSL_LOCKS_EXCLUDED(mutex_);

  Forwarder& forwarder_;
  grpc::GenericStub* stub_ = nullptr;
  grpc::CallbackServerContext& context_;
  CallContext call_;
  grpc::ClientContext client_context_;
  ToWriter writer_;
  grpc::ByteBuffer message_;  // from the client
  grpc::ByteBuffer reply_;    // from the writer

  Mutex mutex_;
  bool sending_ ABSL_GUARDED_BY(mutex_) = false;
  bool writes_closed_ ABSL_GUARDED_BY(mutex_) = false;
  bool replying_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;  // the client is gone
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool begun_ ABSL_GUARDED_BY(mutex_) = false;
  bool writer_over_ ABSL_GUARDED_BY(mutex_) = false;  // it sends no more
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);  // of the call to the writer
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_FORWARD_FORWARD_STREAM_H_
