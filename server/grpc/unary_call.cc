// The reactor of a unary call.
#include "server/grpc/unary_call.h"

#include <chrono>
#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "base/steady_time.h"
#include "google/protobuf/arena.h"
#include "grpc/grpc_security_constants.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "server/grpc/request_parser.h"
#include "server/grpc_status.h"

namespace imagesearch::server {

absl::string_view Header(const grpc::CallbackServerContext& context, const char* key) {
  const auto& metadata = context.client_metadata();
  const auto found = metadata.find(key);
  if (found == metadata.end()) return "";
  return absl::string_view(found->second.data(), found->second.size());
}

namespace {

class UnaryCall final : public grpc::ServerUnaryReactor {
 public:
  UnaryCall(const Method& method, CallRunner* runner, grpc::CallbackServerContext* context,
            const grpc::ByteBuffer* request, grpc::ByteBuffer* response)
      : context_(*context), response_bytes_(*response) {
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
    runner->Start(method, &call_, request_, request->Length(), response_,
                  [this](absl::Status status) { End(status); });
  }

  void OnCancel() override { call_.cancelled->store(true); }
  void OnDone() override { delete this; }

 private:
  void End(const absl::Status& status) {
    if (status.ok()) {
      bool own = false;
      const grpc::Status serialized =
          grpc::SerializationTraits<google::protobuf::Message>::Serialize(*response_,
                                                                          &response_bytes_, &own);
      // A client may take long to read the reply: its bytes wait, the messages need not.
      request_ = response_ = nullptr;
      arena_.Reset();
      Finish(serialized);
      return;
    }
    AddTrailers(status, call_, &context_);
    Finish(GrpcStatus(status));
  }

  grpc::CallbackServerContext& context_;
  grpc::ByteBuffer& response_bytes_;
  CallContext call_;
  google::protobuf::Arena arena_;
  google::protobuf::Message* request_ = nullptr;
  google::protobuf::Message* response_ = nullptr;
};

}  // namespace

absl::Status ReadGrpcContext(const grpc::CallbackServerContext& context, CallContext* call) {
  // gRPC tells the deadline by the wall clock as it is now, and keeps it by one that does not jump.
  const auto left = context.deadline() - std::chrono::system_clock::now();
  // Calls without a deadline have one beyond what absl::Time's arithmetic needs.
  if (left < std::chrono::hours(24 * 365 * 10)) {
    call->deadline = SteadyNow() + absl::FromChrono(left);
  }
  call->peer = context.peer();
  const auto names = context.auth_context()->FindPropertyValues(GRPC_X509_CN_PROPERTY_NAME);
  if (!names.empty()) call->certificate_name = std::string(names[0].data(), names[0].size());
  return ReadCallHeaders(Header(context, "x-request-id"), Header(context, "traceparent"),
                         Header(context, "imagesearch-priority"), call);
}

void AddTrailers(const absl::Status& status, const CallContext& call,
                 grpc::CallbackServerContext* context) {
  if (status.ok()) return;
  if (!call.request_id.empty()) context->AddTrailingMetadata("x-request-id", call.request_id);
  if (const auto delay = RetryAfterOf(status)) {
    context->AddTrailingMetadata("grpc-retry-pushback-ms",
                                 absl::StrCat(absl::ToInt64Milliseconds(*delay)));
  }
}

grpc::ServerUnaryReactor* StartUnaryCall(const Method& method, CallRunner* runner,
                                         grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response) {
  return new UnaryCall(method, runner, context, request, response);
}

}  // namespace imagesearch::server
