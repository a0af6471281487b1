// What a handler knows of the call beside its request, whatever the transport.
#ifndef IMAGESEARCH_SERVER_CALL_CONTEXT_H_
#define IMAGESEARCH_SERVER_CALL_CONTEXT_H_

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/steady_time.h"
#include "encoder/encoder.h"
#include "google/protobuf/message.h"

namespace imagesearch::server {

struct ActiveKey;

// Belongs to one call. Only `cancelled` may be touched by two threads at a time.
struct CallContext {
  // When the call is of no more use to its caller. The runner puts the default for calls without
  // one.
  absl::Time deadline = absl::InfiniteFuture();
  // Set to true by the transport when the caller went away.
  std::shared_ptr<std::atomic<bool>> cancelled = std::make_shared<std::atomic<bool>>(false);
  // From `imagesearch-priority`; absent: the method's own.
  std::optional<encoder::Priority> priority;
  std::string request_id;   // from x-request-id, or made
  std::string traceparent;  // W3C trace context, as received; empty: none
  std::string peer;         // for logs

  // Set by transports for methods that send: the handler gives each message of its answer to it
  // (and may consume it). Blocks while the caller reads slowly; an error means that nobody reads
  // any more.
  std::function<absl::Status(google::protobuf::Message*)> send;

  // Set by Access::Identify. The key is null where none is asked for.
  std::string client;  // whose share of the server's room the call takes
  std::shared_ptr<const ActiveKey> key;
  // The caller's `authorization`, for a reader that sends the call on. A secret: never log it.
  std::string authorization;
  std::string certificate_name;  // common name of the client's certificate; empty: it gave none
  std::shared_ptr<void> place;   // among the key's calls; given back with the last copy
  std::shared_ptr<void> reply;   // room for the reply, until the client has taken it

  absl::Time start = SteadyNow();
  // Time of each stage, for the slow-call log.
  std::vector<std::pair<absl::string_view, absl::Duration>> stages;

  // Options for work in the encoder on behalf of this call.
  encoder::EncodeOptions EncodeOptions(encoder::Priority usual) const {
    return {priority.value_or(usual), deadline, cancelled, false};
  }
};

// Adds the time between construction and destruction to the call's stages. `name` is a literal.
class StageTimer {
 public:
  StageTimer(CallContext& call, absl::string_view name)
      : call_(call), name_(name), start_(SteadyNow()) {}
  ~StageTimer() { call_.stages.emplace_back(name_, SteadyNow() - start_); }
  StageTimer(const StageTimer&) = delete;
  StageTimer& operator=(const StageTimer&) = delete;

 private:
  CallContext& call_;
  const absl::string_view name_;
  const absl::Time start_;
};

// Fills request_id, traceparent and priority from metadata or headers. INVALID_ARGUMENT
// BAD_PRIORITY for an unknown priority. An unusable request id (longer than 128 bytes, or not
// printable ASCII) or trace context is replaced or dropped; an empty one is made.
absl::Status ReadCallHeaders(absl::string_view request_id, absl::string_view traceparent,
                             absl::string_view priority, CallContext* call);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_CALL_CONTEXT_H_
