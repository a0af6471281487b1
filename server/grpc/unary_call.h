// One unary gRPC call: raw bytes -> request -> CallRunner -> reply.
#ifndef IMAGESEARCH_SERVER_GRPC_UNARY_CALL_H_
#define IMAGESEARCH_SERVER_GRPC_UNARY_CALL_H_

#include "absl/status/status.h"
#include "grpcpp/grpcpp.h"
#include "server/call_context.h"
#include "server/call_runner.h"
#include "server/methods.h"

namespace imagesearch::server {

// The first value of a key of the metadata; empty when there is none.
absl::string_view Header(const grpc::CallbackServerContext& context, const char* key);

// Deadline, peer and headers of a gRPC call. INVALID_ARGUMENT for a header that is wrong.
absl::Status ReadGrpcContext(const grpc::CallbackServerContext& context, CallContext* call);

// Puts into the trailers what goes beside the status: when to retry (the only advice that gRPC's
// own retry policy obeys), and the request id of a failed call.
void AddTrailers(const absl::Status& status, const CallContext& call,
                 grpc::CallbackServerContext* context);

// A reactor that serves the call and deletes itself.
grpc::ServerUnaryReactor* StartUnaryCall(const Method& method, CallRunner* runner,
                                         grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer* request,
                                         grpc::ByteBuffer* response);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_GRPC_UNARY_CALL_H_
