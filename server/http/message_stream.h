// The answer of a method that sends (server/methods.h) as JSON Lines: one message a line.
#ifndef IMAGESEARCH_SERVER_HTTP_MESSAGE_STREAM_H_
#define IMAGESEARCH_SERVER_HTTP_MESSAGE_STREAM_H_

#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "base/mutex.h"
#include "google/protobuf/message.h"
#include "httplib.h"
#include "server/call_context.h"
#include "server/call_runner.h"
#include "server/methods.h"

namespace imagesearch::server {

// One call. The handler's thread waits until its line is taken, so at most one waits here.
// Thread-safe.
class MessageStream {
 public:
  // `call` has its headers, `request` is complete. Both are the stream's from here on.
  MessageStream(std::unique_ptr<CallContext> call,
                std::unique_ptr<google::protobuf::Message> request);
  // Cancels the call and waits for its end.
  ~MessageStream();

  void Start(const Method& method, CallRunner* runner, uint64_t bytes);

  // Waits for the next line (with its line end); nullopt: the call has ended, with status().
  std::optional<std::string> Next();
  // After the end.
  absl::Status status();

 private:
  absl::Status Send(const google::protobuf::Message& message);

  const std::unique_ptr<CallContext> call_;
  const std::unique_ptr<google::protobuf::Message> request_;
  std::unique_ptr<google::protobuf::Message> response_;

  Mutex mutex_;
  CondVar changed_;
  std::optional<std::string> line_ ABSL_GUARDED_BY(mutex_);
  bool abandoned_ ABSL_GUARDED_BY(mutex_) = false;
  bool started_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
};

// The reply: `first`, then the lines that come, then a line {"error": ...} when the call failed.
void AnswerWithLines(std::shared_ptr<MessageStream> stream, std::string first,
                     httplib::Response& response);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HTTP_MESSAGE_STREAM_H_
