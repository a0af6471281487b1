// Unary calls: one attempt after another until an answer or the deadline.
#include "server/forward/forwarder.h"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/steady_time.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "imagesearch/v1/admin.pb.h"
#include "imagesearch/v1/imagesearch.pb.h"
#include "server/forward/forward_stream.h"
#include "server/from_grpc_status.h"

namespace imagesearch::server {
namespace {

constexpr std::chrono::milliseconds kWatchInterval(20);
constexpr absl::Duration kSendAgainAfter = absl::Milliseconds(100);

std::shared_ptr<grpc::Channel> MakeChannel(const ForwarderOptions& options) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxSendMessageSize(options.max_message_bytes);
  arguments.SetMaxReceiveMessageSize(-1);        // bounded by the writer's own reply budget
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);  // sent again here, where it is known what may be
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  // A writer that comes back at another address is found again.
  arguments.SetInt(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, 1000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30'000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  if (!options.certificate_name.empty()) {
    arguments.SetSslTargetNameOverride(options.certificate_name);
  }
  return grpc::CreateCustomChannel(options.writer, options.credentials, arguments);
}

// The same result however often it is done.
bool IsRepeatable(const Method& method, const google::protobuf::Message& request) {
  if (method.name == "Upsert") {
    return !static_cast<const v1::UpsertRequest&>(request).create_only();
  }
  return method.name == "Delete" || method.name == "UpdateMetadata";
}

// What gRPC would abort the process for is not passed on: the writer then finds no key.
bool IsSendable(const std::string& value) {
  return !value.empty() &&
         std::all_of(value.begin(), value.end(), [](char c) { return c >= 0x20 && c <= 0x7e; });
}

bool WasRefusedUnheard(const absl::Status& status) {
  const std::string reason = ReasonOf(status);
  return reason == "NOT_READY" || reason == "DRAINING" || reason == "CLOSED";
}

}  // namespace

void FillClientContext(const CallContext& call, grpc::ClientContext* context) {
  context->set_wait_for_ready(true);
  if (call.deadline != absl::InfiniteFuture())
    context->set_deadline(absl::ToChronoTime(absl::Now() + (call.deadline - SteadyNow())));
  context->AddMetadata("x-request-id", call.request_id);
  if (!call.traceparent.empty()) context->AddMetadata("traceparent", call.traceparent);
  if (IsSendable(call.authorization)) context->AddMetadata("authorization", call.authorization);
  if (call.priority) {
    context->AddMetadata("imagesearch-priority",
                         *call.priority == encoder::Priority::kBulk ? "bulk" : "interactive");
  }
}

struct Forwarder::Call {
  const Method* method = nullptr;
  CallContext* context = nullptr;
  google::protobuf::Message* response = nullptr;
  absl::AnyInvocable<void(absl::Status)> done;
  bool repeatable = false;
  bool awaits_writer = false;  // the response is a GetServerInfoResponse
  v1::GetServerInfoResponse info;
  std::string path;
  grpc::ByteBuffer request;
  grpc::ByteBuffer reply;
  // Guarded by the forwarder's mutex.
  std::unique_ptr<grpc::ClientContext> attempt;  // null while it waits to be sent again
  absl::Time send_again_at = absl::InfiniteFuture();
};

Forwarder::Forwarder(const ForwarderOptions& options, const Access* access, Metrics* metrics)
    : options_(options),
      access_(*access),
      stub_(MakeChannel(options)),
      in_flight_(prometheus::BuildGauge()
                     .Name("imagesearch_forwarded_calls_in_flight")
                     .Help("Writes that were sent on to the writer, or wait for it")
                     .Register(metrics->registry())
                     .Add({})),
      sent_again_(prometheus::BuildCounter()
                      .Name("imagesearch_forwarded_again_total")
                      .Help("Writes sent on to the writer again, because it was away")
                      .Register(metrics->registry())
                      .Add({})),
      watcher_([this] { Watch(); }) {}

Forwarder::~Forwarder() {
  {
    MutexLock lock(&mutex_);
    stop_ = true;
    changed_.SignalAll();
    while (!calls_.empty() || ending_ > 0 || !streams_.empty()) changed_.Wait(&mutex_);
  }
  watcher_.join();
}

bool Forwarder::Takes(const Method& method) const {
  // Each replica has models of its own; operations run in the writer, which alone knows of them.
  if (method.name == "LoadModel" || method.name == "UnloadModel") return false;
  return method.scope != Scope::kRead || absl::StrContains(method.name, "Operation");
}

void Forwarder::Start(const Method& method, CallContext* context,
                      const google::protobuf::Message& request, google::protobuf::Message* response,
                      absl::AnyInvocable<void(absl::Status)> done) {
  auto call = std::make_shared<Call>();
  call->method = &method;
  call->context = context;
  call->response = response;
  call->done = std::move(done);
  call->repeatable = IsRepeatable(method, request);
  Add(call, request);
}

void Forwarder::AwaitWriter(CallContext* context, absl::AnyInvocable<void(absl::Status)> done) {
  static const Method& method = *FindMethod("imagesearch.v1.Admin", "GetServerInfo");
  auto call = std::make_shared<Call>();
  call->method = &method;
  call->context = context;
  call->response = &call->info;
  call->done = std::move(done);
  call->repeatable = true;
  call->awaits_writer = true;
  Add(call, v1::GetServerInfoRequest());
}

void Forwarder::Add(const std::shared_ptr<Call>& call, const google::protobuf::Message& request) {
  call->path = absl::StrCat("/", call->method->service, "/", call->method->name);
  bool own = false;
  const grpc::Status serialized = grpc::SerializationTraits<google::protobuf::Message>::Serialize(
      request, &call->request, &own);
  if (!serialized.ok()) {
    call->done(absl::InternalError("a request could not be serialised"));
    return;
  }
  bool full = false;
  {
    MutexLock lock(&mutex_);
    full = static_cast<int>(calls_.size()) >= options_.max_calls;
    if (!full) {
      calls_.push_back(call);
      in_flight_.Set(static_cast<double>(calls_.size()));
      changed_.SignalAll();
    }
  }
  if (full) {
    call->done(Overloaded(
        "WRITER_AWAY",
        absl::StrCat(options_.max_calls, " writes wait for the writer at ", options_.writer),
        absl::Seconds(1)));
    return;
  }
  Send(call);
}

void Forwarder::Send(const std::shared_ptr<Call>& call) {
  grpc::ClientContext* attempt = nullptr;
  {
    MutexLock lock(&mutex_);
    call->attempt = std::make_unique<grpc::ClientContext>();
    call->send_again_at = absl::InfiniteFuture();
    attempt = call->attempt.get();
    FillClientContext(*call->context, attempt);
  }
  call->reply.Clear();
  stub_.UnaryCall(attempt, call->path, grpc::StubOptions(), &call->request, &call->reply,
                  [this, call](grpc::Status status) { OnReply(call, status); });
}

void Forwarder::OnReply(const std::shared_ptr<Call>& call, const grpc::Status& reply) {
  absl::Status status = FromGrpcStatus(reply);
  if (reply.ok()) {
    grpc::ByteBuffer bytes = call->reply;
    const grpc::Status parsed =
        grpc::SerializationTraits<google::protobuf::Message>::Deserialize(&bytes, call->response);
    if (!parsed.ok()) {
      status = absl::InternalError("the writer's reply could not be parsed");
    } else if (call->awaits_writer && !call->info.ready()) {
      status = Error(absl::StatusCode::kUnavailable, "NOT_READY", "the writer is not ready");
    }
  }
  if (status.ok()) {
    End(call, std::move(status));
    return;
  }
  if (absl::IsCancelled(status) && call->awaits_writer && !call->context->cancelled->load()) {
    status =
        WithRetryAfter(Error(absl::StatusCode::kUnavailable, "DRAINING", "the server is stopping"),
                       absl::Seconds(1));
    End(call, std::move(status));
    return;
  }
  // Nobody here cancelled it: the writer closed its port between reading the call and running it.
  if (absl::IsCancelled(status) && !call->context->cancelled->load()) {
    status = absl::UnavailableError("the writer cut the call off");
  }
  if (absl::IsUnavailable(status) && (call->repeatable || WasRefusedUnheard(status))) {
    MutexLock lock(&mutex_);
    if (!draining_) {
      call->attempt = nullptr;
      call->send_again_at = SteadyNow() + kSendAgainAfter;
      sent_again_.Increment();
      return;
    }
  }
  if (absl::IsDeadlineExceeded(status) && reply.error_details().empty()) {
    status = Error(absl::StatusCode::kDeadlineExceeded, "WRITER_AWAY",
                   absl::StrCat("the writer at ", options_.writer,
                                " did not answer before the deadline; whether the write was done "
                                "is not known"));
  } else if (absl::IsUnavailable(status)) {
    status = WithRetryAfter(status, RetryAfterOf(status).value_or(absl::Milliseconds(200)));
  }
  End(call, std::move(status));
}

void Forwarder::End(const std::shared_ptr<Call>& call, absl::Status status) {
  {
    // The call's context goes with its end, so the watcher must not find it any more.
    MutexLock lock(&mutex_);
    calls_.remove(call);
    ++ending_;
    in_flight_.Set(static_cast<double>(calls_.size()));
  }
  call->done(std::move(status));
  MutexLock lock(&mutex_);
  --ending_;
  changed_.SignalAll();
}

void Forwarder::Watch() {
  while (true) {
    std::vector<std::shared_ptr<Call>> due, gone;
    {
      MutexLock lock(&mutex_);
      if (calls_.empty()) {
        if (stop_) return;
        changed_.Wait(&mutex_);
        continue;
      }
      changed_.WaitUntil(&mutex_, CondVar::Clock::now() + kWatchInterval);
      const absl::Time now = SteadyNow();
      for (const std::shared_ptr<Call>& call : calls_) {
        const bool cancelled = call->context->cancelled->load();
        if (call->attempt != nullptr) {
          if (cancelled || (draining_ && call->awaits_writer)) call->attempt->TryCancel();
        } else if (cancelled || draining_ || now >= call->context->deadline) {
          call->send_again_at = absl::InfiniteFuture();
          gone.push_back(call);
        } else if (now >= call->send_again_at) {
          due.push_back(call);
        }
      }
    }
    for (const auto& call : due) Send(call);
    for (const auto& call : gone) {
      End(call,
          call->context->cancelled->load()
              ? absl::CancelledError("the caller went away before the writer was back")
              : WithRetryAfter(Error(absl::StatusCode::kUnavailable, "WRITER_AWAY",
                                     absl::StrCat("the writer at ", options_.writer, " is away")),
                               absl::Seconds(1)));
    }
  }
}

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Forwarder::StartStream(
    grpc::CallbackServerContext* context) {
  auto* stream = new ForwardStream(this, context);
  absl::Status refusal;
  {
    MutexLock lock(&mutex_);
    if (draining_) {
      refusal = WithRetryAfter(
          Error(absl::StatusCode::kUnavailable, "DRAINING", "the server is stopping"),
          absl::Seconds(1));
    } else if (static_cast<int>(streams_.size()) >= options_.max_streams) {
      refusal = Overloaded(
          "OVERLOADED",
          absl::StrCat("the server serves at most ", options_.max_streams, " streams at a time"),
          absl::Seconds(1));
    }
    streams_.insert(stream);
  }
  stream->Begin(refusal, access_, &stub_);
  return stream;
}

void Forwarder::Drain() {
  // Under the lock, so that no stream is deleted meanwhile: Remove waits for it.
  MutexLock lock(&mutex_);
  draining_ = true;
  for (ForwardStream* stream : streams_) stream->Drain();
}

int Forwarder::open_streams() const {
  MutexLock lock(&mutex_);
  return static_cast<int>(streams_.size());
}

void Forwarder::Remove(ForwardStream* stream) {
  MutexLock lock(&mutex_);
  streams_.erase(stream);
  changed_.SignalAll();
}

}  // namespace imagesearch::server
