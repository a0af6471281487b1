#include "server/forward/forward_stream.h"

#include <utility>

#include "base/error.h"
#include "server/from_grpc_status.h"
#include "server/grpc/unary_call.h"
#include "server/grpc_status.h"

namespace imagesearch::server {
namespace {
constexpr char kPath[] = "/imagesearch.v1.ImageSearch/UpsertStream";
}  // namespace

ForwardStream::ForwardStream(Forwarder* forwarder, grpc::CallbackServerContext* context)
    : forwarder_(*forwarder), context_(*context), writer_(this) {}

absl::Status ForwardStream::Identify(const Access& access) {
  absl::Status status = ReadGrpcContext(context_, &call_);
  call_.authorization = std::string(Header(context_, "authorization"));
  if (status.ok()) status = access.Identify(call_.authorization, &call_);
  if (status.ok()) status = access.Authorize(Scope::kWrite, Demand(), call_);
  // The writer meters the images.
  if (status.ok()) status = access.Meter(0, &call_);
  return status;
}

void ForwardStream::Begin(absl::Status refusal, const Access& access, grpc::GenericStub* stub) {
  absl::Status status = Identify(access);
  if (status.ok()) status = std::move(refusal);
  stub_ = stub;
  if (!status.ok()) {
    Open(std::move(status));
    return;
  }
  forwarder_.AwaitWriter(&call_, [this](absl::Status ready) { Open(std::move(ready)); });
}

void ForwardStream::Open(absl::Status status) {
  bool ends = false;
  {
    MutexLock lock(&mutex_);
    if (status.ok() && broken_) status = absl::CancelledError("the client went away");
    ends = !status.ok();
    if (ends) {
      writes_closed_ = true;
      end_ = std::move(status);
    }
  }
  if (ends) {
    FinishIfOver();
    return;
  }
  FillClientContext(call_, &client_context_);
  stub_->PrepareBidiStreamingCall(&client_context_, kPath, grpc::StubOptions(), &writer_);
  // One for each chain: both go on from the client's reactions too.
  writer_.AddMultipleHolds(2);
  writer_.StartRead(&reply_);
  writer_.StartCall();
  StartRead(&message_);
  bool close = false;
  {
    MutexLock lock(&mutex_);
    begun_ = true;
    close = draining_;
  }
  if (close) CloseWrites(/*half_close=*/true);
}

void ForwardStream::CloseWrites(bool half_close) {
  {
    MutexLock lock(&mutex_);
    if (writes_closed_ || sending_) return;
    writes_closed_ = true;
  }
  if (half_close) writer_.StartWritesDone();
  writer_.RemoveHold();
}

void ForwardStream::Drain() {
  {
    MutexLock lock(&mutex_);
    draining_ = true;
    if (!begun_) return;
  }
  CloseWrites(/*half_close=*/true);
}

void ForwardStream::OnReadDone(bool ok) {
  if (!ok) {
    CloseWrites(/*half_close=*/true);
    return;
  }
  {
    MutexLock lock(&mutex_);
    if (writes_closed_) return;
    sending_ = true;
  }
  writer_.StartWrite(&message_);
}

void ForwardStream::OnSent(bool ok) {
  bool close = false;
  {
    MutexLock lock(&mutex_);
    sending_ = false;
    close = !ok || draining_ || broken_ || writer_over_;
  }
  if (close) {
    CloseWrites(/*half_close=*/ok);
  } else {
    StartRead(&message_);
  }
}

void ForwardStream::OnReceived(bool ok) {
  if (!ok) {
    // The writer has ended the call. Its reason comes once nothing is held.
    {
      MutexLock lock(&mutex_);
      writer_over_ = true;
    }
    CloseWrites(/*half_close=*/false);
    writer_.RemoveHold();
    return;
  }
  bool reply = false;
  {
    MutexLock lock(&mutex_);
    reply = replying_ = !broken_;
  }
  if (reply) {
    StartWrite(&reply_);
  } else {
    writer_.StartRead(&reply_);
  }
}

void ForwardStream::OnWriteDone(bool ok) {
  {
    MutexLock lock(&mutex_);
    replying_ = false;
    if (!ok) broken_ = true;
  }
  if (!ok) client_context_.TryCancel();
  writer_.StartRead(&reply_);
}

void ForwardStream::OnCancel() {
  call_.cancelled->store(true);
  bool running = false;
  {
    MutexLock lock(&mutex_);
    broken_ = true;
    running = !end_.has_value();
  }
  if (running) client_context_.TryCancel();
}

void ForwardStream::OnEnd(const grpc::Status& status) {
  {
    MutexLock lock(&mutex_);
    end_ = FromGrpcStatus(status);
    if (draining_ && end_->ok()) {
      end_ = Error(absl::StatusCode::kUnavailable, "DRAINING",
                   "the server is stopping: acknowledged images are stored, send the others again");
    }
    if (absl::IsUnavailable(*end_)) {
      end_ = WithRetryAfter(*end_, RetryAfterOf(*end_).value_or(absl::Milliseconds(200)));
    }
  }
  FinishIfOver();
}

void ForwardStream::FinishIfOver() {
  absl::Status status;
  {
    MutexLock lock(&mutex_);
    if (finished_ || !end_ || replying_) return;
    finished_ = true;
    status = *end_;
  }
  AddTrailers(status, call_, &context_);
  Finish(GrpcStatus(status));
}

void ForwardStream::OnDone() {
  forwarder_.Remove(this);
  delete this;
}

}  // namespace imagesearch::server
