#include "server/http/message_stream.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "server/http/json.h"

namespace imagesearch::server {
namespace {

constexpr absl::Duration kLongest = absl::Hours(24);  // of a call without a deadline

}  // namespace

MessageStream::MessageStream(std::unique_ptr<CallContext> call,
                             std::unique_ptr<google::protobuf::Message> request)
    : call_(std::move(call)), request_(std::move(request)) {
  if (call_->deadline == absl::InfiniteFuture()) call_->deadline = call_->start + kLongest;
  call_->send = [this](google::protobuf::Message* message) { return Send(*message); };
}

MessageStream::~MessageStream() {
  call_->cancelled->store(true);
  MutexLock lock(&mutex_);
  abandoned_ = true;
  changed_.SignalAll();
  while (started_ && !end_) changed_.Wait(&mutex_);
}

void MessageStream::Start(const Method& method, CallRunner* runner, uint64_t bytes) {
  {
    MutexLock lock(&mutex_);
    started_ = true;
  }
  response_.reset(method.response->New());
  runner->Start(method, call_.get(), request_.get(), bytes, response_.get(),
                [this](absl::Status status) {
                  MutexLock lock(&mutex_);
                  end_ = std::move(status);
                  changed_.SignalAll();
                });
}

absl::Status MessageStream::Send(const google::protobuf::Message& message) {
  absl::StatusOr<std::string> json = ToJson(message);
  if (!json.ok()) return json.status();
  MutexLock lock(&mutex_);
  while (line_ && !abandoned_) changed_.Wait(&mutex_);
  if (abandoned_) return absl::CancelledError("the caller went away");
  line_ = *std::move(json) + "\n";
  changed_.SignalAll();
  return absl::OkStatus();
}

std::optional<std::string> MessageStream::Next() {
  MutexLock lock(&mutex_);
  while (!line_ && !end_) changed_.Wait(&mutex_);
  std::optional<std::string> line = std::exchange(line_, std::nullopt);
  changed_.SignalAll();
  return line;
}

absl::Status MessageStream::status() {
  MutexLock lock(&mutex_);
  return end_.value_or(absl::OkStatus());
}

void AnswerWithLines(std::shared_ptr<MessageStream> stream, std::string first,
                     httplib::Response& response) {
  std::optional<std::string> next = std::move(first);
  response.set_chunked_content_provider(
      "application/x-ndjson", [stream = std::move(stream), next = std::move(next)](
                                  size_t, httplib::DataSink& sink) mutable {
        if (next && !sink.write(next->data(), next->size())) return false;
        next = stream->Next();
        if (next) return true;
        if (const absl::Status end = stream->status(); !end.ok()) {
          const std::string error = absl::StrCat("{\"error\":", ErrorJson(end), "}\n");
          sink.write(error.data(), error.size());
        }
        sink.done();
        return true;
      });
}

}  // namespace imagesearch::server
