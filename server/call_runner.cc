// Admission counts and one pool for each lane.
#include "server/call_runner.h"

#include <algorithm>
#include <exception>
#include <limits>
#include <new>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/call_deadline.h"
#include "base/error.h"
#include "base/steady_time.h"
#include "server/logging.h"

namespace imagesearch::server {

// The pool of a lane, and how long its calls take (a moving average), from which a refusal's advice
// follows.
struct CallRunner::LaneState {
  LaneState(Lane lane, const char* name, int threads, size_t max_queued)
      : kind(static_cast<size_t>(lane)),
        places(static_cast<uint64_t>(threads) + max_queued),
        pool(name, threads, max_queued) {}

  void RecordTime(absl::Duration time) {
    const int64_t micros = absl::ToInt64Microseconds(time);
    const int64_t mean = mean_micros.load(std::memory_order_relaxed);
    mean_micros.store(mean + (micros - mean) / 16, std::memory_order_relaxed);
  }

  // Until a call that comes now would start, about.
  absl::Duration Wait() const {
    return absl::Microseconds(mean_micros.load(std::memory_order_relaxed)) *
           static_cast<int64_t>(pool.queued()) / pool.max_threads();
  }

  absl::Duration RetryAfter() const {
    return std::clamp(Wait() + absl::Microseconds(mean_micros.load(std::memory_order_relaxed)),
                      absl::Milliseconds(50), absl::Seconds(5));
  }

  const size_t kind;      // in ClientShares
  const uint64_t places;  // of running and waiting calls
  std::atomic<int64_t> mean_micros{0};
  WorkerPool pool;
};

namespace {

constexpr size_t kBytes = 3;  // a kind of ClientShares, after the lanes

uint64_t ShareOf(uint64_t whole, double share) {
  return std::max<uint64_t>(1, static_cast<uint64_t>(static_cast<double>(whole) * share));
}

}  // namespace

CallRunner::CallRunner(const CallRunnerOptions& options, ServerState* state, Metrics* metrics,
                       const Guard* guard)
    : options_(options),
      state_(*state),
      metrics_(*metrics),
      guard_(*guard),
      replies_(
          std::make_shared<ReplyBudget>(options.max_inflight_bytes, options.max_client_share)) {
  lanes_[static_cast<int>(Lane::kIndex)] =
      std::make_unique<LaneState>(Lane::kIndex, "calls-index", options.index_threads,
                                  static_cast<size_t>(options.max_queued_calls));
  // Calls that encode wait in the encoder's own queue, which knows how long they take; so here each
  // has a thread, and none waits.
  lanes_[static_cast<int>(Lane::kEncode)] =
      std::make_unique<LaneState>(Lane::kEncode, "calls-encode", options.max_encode_calls, 0);
  lanes_[static_cast<int>(Lane::kBulk)] =
      std::make_unique<LaneState>(Lane::kBulk, "calls-bulk", options.max_bulk_calls, 0);
}

CallRunner::~CallRunner() = default;

CallRunner::LaneState& CallRunner::lane(Lane lane) { return *lanes_[static_cast<int>(lane)]; }

absl::Status CallRunner::Admit(LaneState& lane, const CallContext& call, uint64_t bytes) {
  const absl::Time now = SteadyNow();
  if (now >= call.deadline) {
    return absl::DeadlineExceededError("the deadline passed before the call could start");
  }
  if (now + lane.Wait() > call.deadline) {
    return Overloaded("OVERLOADED", "the call can't start before its deadline", lane.RetryAfter());
  }
  if (bytes_in_flight_.fetch_add(bytes) + bytes > options_.max_inflight_bytes) {
    bytes_in_flight_.fetch_sub(bytes);
    return Overloaded("OVERLOADED",
                      absl::StrCat("the requests in flight hold ",
                                   options_.max_inflight_bytes >> 20, " MiB already"),
                      lane.RetryAfter());
  }
  absl::Status taken = TakeShares(lane, call, bytes);
  if (!taken.ok()) {
    bytes_in_flight_.fetch_sub(bytes);
    return taken;
  }
  metrics_.bytes_in_flight().Increment(static_cast<double>(bytes));
  return absl::OkStatus();
}

absl::Status CallRunner::TakeShares(LaneState& lane, const CallContext& call, uint64_t bytes) {
  const double share = options_.max_client_share;
  const uint64_t places = ShareOf(lane.places, share);
  // A share that is all of the lane is the lane's own bound: then it is OVERLOADED that is true.
  const uint64_t limit = places < lane.places ? places : std::numeric_limits<uint64_t>::max() / 2;
  if (!shares_.Take(call.client, lane.kind, 1, limit)) {
    return Overloaded("CLIENT_SHARE",
                      absl::StrCat("one client may have ", places, " calls of this kind at a time"),
                      lane.RetryAfter());
  }
  // A single call may always be as large as the limit of a message.
  const uint64_t most = std::max(ShareOf(options_.max_inflight_bytes, share), bytes);
  if (!shares_.Take(call.client, kBytes, bytes, most)) {
    shares_.Give(call.client, lane.kind, 1);
    return Overloaded("CLIENT_SHARE",
                      absl::StrCat("one client's requests in flight may hold ", most, " bytes"),
                      lane.RetryAfter());
  }
  return absl::OkStatus();
}

absl::Status CallRunner::Identify(absl::string_view authorization, CallContext* call) const {
  if (options_.forwarder != nullptr) call->authorization = std::string(authorization);
  return guard_.access->Identify(authorization, call);
}

void CallRunner::Release(LaneState& lane, const CallContext& call, uint64_t bytes) {
  shares_.Give(call.client, lane.kind, 1);
  shares_.Give(call.client, kBytes, bytes);
  bytes_in_flight_.fetch_sub(bytes);
  metrics_.bytes_in_flight().Decrement(static_cast<double>(bytes));
}

void CallRunner::Start(const Method& method, CallContext* call, google::protobuf::Message* request,
                       uint64_t bytes, google::protobuf::Message* response,
                       absl::AnyInvocable<void(absl::Status)> done) {
  if (call->deadline == absl::InfiniteFuture()) {
    call->deadline = call->start + options_.default_deadline;
  }
  // A handler may consume its request: what it would change is noted before.
  std::shared_ptr<const AuditSubject> subject;
  if (guard_.audit != nullptr) subject = std::make_shared<AuditSubject>(SubjectOf(*request));
  const Demand demand = call->key == nullptr ? Demand() : DemandOf(*request);
  // A transport that forgets to ask who calls serves nobody, rather than everybody.
  absl::Status admitted = guard_.access->needs_keys() && call->key == nullptr
                              ? Error(absl::StatusCode::kUnauthenticated, "NO_KEY",
                                      "this server asks for an API key: authorization: Bearer KEY")
                              : Access::Authorize(method.scope, demand, *call);
  if (admitted.ok()) admitted = guard_.access->Meter(demand.items, call);
  LaneState& lane = this->lane(method.lane(*request, *call));
  if (admitted.ok()) admitted = Admit(lane, *call, bytes);
  if (!admitted.ok()) {
    call->place.reset();
    Audit(method, *call, subject.get(), admitted);
    Log(method, *call, admitted);
    done(std::move(admitted));
    return;
  }
  in_flight_.fetch_add(1);
  metrics_.calls_in_flight().Increment();
  // Shared, because a task that the pool refuses is thrown away and `done` is still needed.
  auto shared_done = std::make_shared<absl::AnyInvocable<void(absl::Status)>>(std::move(done));
  auto end = [this, &method, &lane, call, bytes, response, subject,
              shared_done](absl::Status status) {
    if (status.ok()) {
      // What a write answers is told in any case: it has happened.
      status = replies_->Take(response->ByteSizeLong(), method.scope != Scope::kRead, call);
    }
    Release(lane, *call, bytes);
    call->place.reset();
    Audit(method, *call, subject.get(), status);
    Log(method, *call, status);
    (*shared_done)(std::move(status));
    metrics_.calls_in_flight().Decrement();
    in_flight_.fetch_sub(1);
  };
  if (options_.forwarder != nullptr && options_.forwarder->Takes(method)) {
    options_.forwarder->Start(method, call, *request, response, end);
    return;
  }
  WorkerPool::Task task = [this, &method, &lane, call, request, response, end]() {
    const absl::Time begin = SteadyNow();
    call->stages.emplace_back("queue", begin - call->start);
    absl::Status status;
    if (call->cancelled->load()) {
      status = absl::CancelledError("the caller went away before the call started");
    } else if (begin >= call->deadline) {
      status = absl::DeadlineExceededError("the deadline passed before the call could start");
    } else {
      const CallDeadline deadline(call->deadline);
      try {
        status = method.run(state_, *call, request, response);
      } catch (const std::bad_alloc&) {
        status = Overloaded("OUT_OF_MEMORY", absl::StrCat("no memory for ", method.name),
                            lane.RetryAfter());
      } catch (const std::exception& exception) {
        status =
            absl::InternalError(absl::StrCat("exception in ", method.name, ": ", exception.what()));
      }
      lane.RecordTime(SteadyNow() - begin);
    }
    if (status.ok() && response->ByteSizeLong() > state_.limits().max_reply_bytes) {
      status = InvalidArgument(
          "REPLY_TOO_LARGE", absl::StrCat("the reply would take ", response->ByteSizeLong(),
                                          " bytes, the limit is ", state_.limits().max_reply_bytes,
                                          ": ask for fewer items or without vectors"));
    }
    end(std::move(status));
  };
  if (!lane.pool.TrySubmit(task)) {
    end(Overloaded("OVERLOADED",
                   absl::StrCat("too many calls of this kind at a time: ", lane.pool.max_threads(),
                                " run, ", lane.pool.queued(), " wait"),
                   lane.RetryAfter()));
  }
}

absl::Status CallRunner::Run(const Method& method, CallContext* call,
                             google::protobuf::Message* request, uint64_t bytes,
                             google::protobuf::Message* response) {
  Mutex mutex;
  CondVar ended;
  std::optional<absl::Status> result;  // guarded by mutex
  Start(method, call, request, bytes, response, [&](absl::Status status) {
    MutexLock lock(&mutex);
    result = std::move(status);
    ended.SignalAll();
  });
  MutexLock lock(&mutex);
  while (!result) ended.Wait(&mutex);
  return *std::move(result);
}

void CallRunner::Record(const Method& method, const CallContext& call, const absl::Status& status) {
  Audit(method, call, nullptr, status);
  Log(method, call, status);
}

void CallRunner::Audit(const Method& method, const CallContext& call, const AuditSubject* subject,
                       const absl::Status& status) {
  const bool denied = absl::IsUnauthenticated(status) || absl::IsPermissionDenied(status);
  if (guard_.audit == nullptr || (method.scope == Scope::kRead && !denied)) return;
  static const auto* nothing = new AuditSubject();
  guard_.audit->Write(method.name, call, subject == nullptr ? *nothing : *subject, status);
}

void CallRunner::Log(const Method& method, const CallContext& call, const absl::Status& status) {
  const absl::Duration time = SteadyNow() - call.start;
  metrics_.RecordCall(method.name, status, time);
  const bool slow = options_.slow_call > absl::ZeroDuration() && time >= options_.slow_call;
  const bool ours = absl::IsInternal(status) || absl::IsUnknown(status) || absl::IsDataLoss(status);
  if (!slow && !ours && !options_.access_log) return;
  LogFields fields = {{"method", std::string(method.name)},
                      {"request_id", call.request_id},
                      {"peer", call.peer},
                      {"code", absl::StatusCodeToString(status.code())},
                      {"ms", absl::StrCat(absl::ToDoubleMilliseconds(time))}};
  if (call.key != nullptr) fields.emplace_back("key", call.key->entry.id);
  if (!call.traceparent.empty()) fields.emplace_back("traceparent", call.traceparent);
  if (!status.ok()) {
    fields.emplace_back("reason", ReasonOf(status));
    fields.emplace_back("message", std::string(status.message()));
  }
  for (const auto& [name, duration] : call.stages) {
    fields.emplace_back(absl::StrCat(name, "_ms"),
                        absl::StrCat(absl::ToDoubleMilliseconds(duration)));
  }
  server::Log(ours   ? LogLevel::kError
              : slow ? LogLevel::kWarn
                     : LogLevel::kInfo,
              ours   ? "call failed"
              : slow ? "slow call"
                     : "call",
              fields);
}

}  // namespace imagesearch::server
