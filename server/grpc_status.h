// The one place that turns an absl::Status into what goes over the wire.
#ifndef IMAGESEARCH_SERVER_GRPC_STATUS_H_
#define IMAGESEARCH_SERVER_GRPC_STATUS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/rpc/status.pb.h"
#include "grpcpp/support/status.h"
#include "imagesearch/v1/types.pb.h"

namespace imagesearch::server {

// The same status with its message, and the field it is about, below `field`: "terms[2]: the text
// is empty". An OK status stays OK.
absl::Status AtField(const absl::Status& status, absl::string_view field);

// With details: google.rpc.ErrorInfo {reason, domain "imagesearch"}, RetryInfo where a retry is
// advised, BadRequest for INVALID_ARGUMENT. Below 4 KiB.
google::rpc::Status RpcStatus(const absl::Status& status);
grpc::Status GrpcStatus(const absl::Status& status);

// Of one item of a batch.
void FillStatus(const absl::Status& status, v1::Status* out);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_GRPC_STATUS_H_
