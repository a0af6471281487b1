// Runs a unary call, whatever its transport: admission, worker threads, deadline, reply budget,
// metrics, logs.
#ifndef IMAGESEARCH_SERVER_CALL_RUNNER_H_
#define IMAGESEARCH_SERVER_CALL_RUNNER_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "google/protobuf/message.h"
#include "server/call_context.h"
#include "server/methods.h"
#include "server/metrics.h"
#include "server/reply_budget.h"
#include "server/security/client_shares.h"
#include "server/security/guard.h"
#include "server/server_state.h"
#include "server/worker_pool.h"

namespace imagesearch::server {

// Runs calls elsewhere. Thread-safe.
class CallForwarder {
 public:
  virtual ~CallForwarder() = default;
  virtual bool Takes(const Method& method) const = 0;
  // Calls `done` once, from any thread; the rest as in CallRunner::Start.
  virtual void Start(const Method& method, CallContext* call,
                     const google::protobuf::Message& request, google::protobuf::Message* response,
                     absl::AnyInvocable<void(absl::Status)> done) = 0;
};

struct CallRunnerOptions {
  int index_threads = 4;
  int max_queued_calls = 512;
  int max_encode_calls = 48;
  int max_bulk_calls = 64;
  uint64_t max_inflight_bytes = 256u << 20;
  absl::Duration default_deadline = absl::Seconds(10);
  absl::Duration slow_call = absl::Seconds(1);  // zero: none are logged
  bool access_log = false;
  // Of each lane's places, of the request bytes in flight and of the reply bytes that wait to be
  // taken, how much one client may hold.
  double max_client_share = 1;
  // Gets the calls that it takes, after admission; null: all run here. Must outlive the runner.
  CallForwarder* forwarder = nullptr;
};

// Thread-safe. The destructor waits for the calls in flight.
class CallRunner {
 public:
  // `state`, `metrics` and `guard` must outlive this.
  CallRunner(const CallRunnerOptions& options, ServerState* state, Metrics* metrics,
             const Guard* guard);
  ~CallRunner();

  // Who calls: to be asked before the request is read. See Access::Identify.
  absl::Status Identify(absl::string_view authorization, CallContext* call) const;

  // Runs `method` on a thread of its lane and calls `done` once, from there, or from the calling
  // thread when the call is refused: RESOURCE_EXHAUSTED OVERLOADED with retry advice,
  // DEADLINE_EXCEEDED, or what Access::Authorize and Meter say. `call`, `request` and `response`
  // must live until `done`. `bytes` is the size of the request as it came.
  void Start(const Method& method, CallContext* call, google::protobuf::Message* request,
             uint64_t bytes, google::protobuf::Message* response,
             absl::AnyInvocable<void(absl::Status)> done);

  // Start, then waits for the end. For transports with a thread for each call.
  absl::Status Run(const Method& method, CallContext* call, google::protobuf::Message* request,
                   uint64_t bytes, google::protobuf::Message* response);

  // Records a call that ended before Start: its request could not be read.
  void Record(const Method& method, const CallContext& call, const absl::Status& status);

  // Calls between Start and done.
  int in_flight() const { return in_flight_.load(); }

 private:
  struct LaneState;

  LaneState& lane(Lane lane);
  absl::Status Admit(LaneState& lane, const CallContext& call, uint64_t bytes);
  absl::Status TakeShares(LaneState& lane, const CallContext& call, uint64_t bytes);
  void Release(LaneState& lane, const CallContext& call, uint64_t bytes);
  void Audit(const Method& method, const CallContext& call, const AuditSubject* subject,
             const absl::Status& status);
  void Log(const Method& method, const CallContext& call, const absl::Status& status);

  const CallRunnerOptions options_;
  ServerState& state_;
  Metrics& metrics_;
  const Guard& guard_;
  // Kinds: calls of each lane, then bytes.
  ClientShares<4> shares_;
  const std::shared_ptr<ReplyBudget> replies_;  // of transports that keep CallContext::reply
  std::atomic<int> in_flight_{0};
  std::atomic<uint64_t> bytes_in_flight_{0};
  std::unique_ptr<LaneState> lanes_[3];
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_CALL_RUNNER_H_
