// The reactor of a call with a streamed answer. The handler's thread waits for each write.
#include "server/grpc/server_stream_call.h"

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "base/mutex.h"
#include "google/protobuf/arena.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "server/grpc/request_parser.h"
#include "server/grpc/unary_call.h"
#include "server/grpc_status.h"

namespace imagesearch::server {
namespace {

constexpr absl::Duration kLongest = absl::Hours(24);

class ServerStreamCall final : public grpc::ServerWriteReactor<grpc::ByteBuffer> {
 public:
  ServerStreamCall(const Method& method, CallRunner* runner, grpc::CallbackServerContext* context,
                   const grpc::ByteBuffer* request)
      : context_(*context) {
    absl::Status status = ReadGrpcContext(*context, &call_);
    request_ = method.request->New(&arena_);
    response_ = method.response->New(&arena_);
    if (status.ok()) status = runner->Identify(Header(*context, "authorization"), &call_);
    if (status.ok()) status = ParseRequest(*request, request_);
    if (!status.ok()) {
      runner->Record(method, call_, status);
      End(status);
      return;
    }
    if (call_.deadline == absl::InfiniteFuture()) call_.deadline = call_.start + kLongest;
    call_.send = [this](google::protobuf::Message* message) { return Send(*message); };
    runner->Start(method, &call_, request_, request->Length(), response_,
                  [this](absl::Status status) { End(status); });
  }

  void OnWriteDone(bool ok) override {
    MutexLock lock(&mutex_);
    writing_ = false;
    broken_ |= !ok;
    written_.SignalAll();
  }
  void OnCancel() override { call_.cancelled->store(true); }
  void OnDone() override { delete this; }

 private:
  // On the handler's thread. A write ends also when the caller goes away or its deadline passes.
  absl::Status Send(const google::protobuf::Message& message) {
    bytes_.Clear();  // the message before this one is written
    bool own = false;
    const grpc::Status serialized =
        grpc::SerializationTraits<google::protobuf::Message>::Serialize(message, &bytes_, &own);
    if (!serialized.ok()) return absl::InternalError("a message could not be serialised");
    {
      MutexLock lock(&mutex_);
      if (broken_) return absl::CancelledError("the caller went away");
      writing_ = true;
    }
    StartWrite(&bytes_);
    MutexLock lock(&mutex_);
    while (writing_) written_.Wait(&mutex_);
    return broken_ ? absl::CancelledError("the caller went away") : absl::OkStatus();
  }

  void End(const absl::Status& status) {
    AddTrailers(status, call_, &context_);
    Finish(GrpcStatus(status));
  }

  grpc::CallbackServerContext& context_;
  CallContext call_;
  google::protobuf::Arena arena_;
  google::protobuf::Message* request_ = nullptr;
  google::protobuf::Message* response_ = nullptr;
  grpc::ByteBuffer bytes_;  // being written

  Mutex mutex_;
  CondVar written_;
  bool writing_ ABSL_GUARDED_BY(mutex_) = false;
  bool broken_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* StartServerStreamCall(
    const Method& method, CallRunner* runner, grpc::CallbackServerContext* context,
    const grpc::ByteBuffer* request) {
  return new ServerStreamCall(method, runner, context, request);
}

}  // namespace imagesearch::server
