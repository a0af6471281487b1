// One gRPC call whose answer is a stream: raw bytes -> request -> CallRunner -> messages.
#ifndef IMAGESEARCH_SERVER_GRPC_SERVER_STREAM_CALL_H_
#define IMAGESEARCH_SERVER_GRPC_SERVER_STREAM_CALL_H_

#include "grpcpp/grpcpp.h"
#include "server/call_runner.h"
#include "server/methods.h"

namespace imagesearch::server {

// A reactor that serves the call and deletes itself. `method` sends (server/methods.h). One message
// is in flight at a time: a slow reader slows the handler down. Without a deadline the call may
// take a day.
grpc::ServerWriteReactor<grpc::ByteBuffer>* StartServerStreamCall(
    const Method& method, CallRunner* runner, grpc::CallbackServerContext* context,
    const grpc::ByteBuffer* request);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_GRPC_SERVER_STREAM_CALL_H_
