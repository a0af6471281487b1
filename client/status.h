// From the errors that travel (gRPC status with google.rpc details, imagesearch.v1.Status of one
// item) to absl::Status with a reason, read by ReasonOf() and RetryAfterOf() of base/error.h.
#ifndef IMAGESEARCH_CLIENT_STATUS_H_
#define IMAGESEARCH_CLIENT_STATUS_H_

#include "absl/status/status.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/status.h"
#include "imagesearch/v1/types.pb.h"

namespace imagesearch::client {

// The reason comes from google.rpc.ErrorInfo in the details. The advice on when to retry comes from
// google.rpc.RetryInfo, or else from the trailer grpc-retry-pushback-ms when `context` is given.
absl::Status FromGrpc(const grpc::Status& status, const grpc::ClientContext* context = nullptr);

// One item of a batch.
absl::Status FromItem(const v1::Status& status);

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_STATUS_H_
