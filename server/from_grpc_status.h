// grpc_status.h the other way: what another server of ours answered.
#ifndef IMAGESEARCH_SERVER_FROM_GRPC_STATUS_H_
#define IMAGESEARCH_SERVER_FROM_GRPC_STATUS_H_

#include "absl/status/status.h"
#include "grpcpp/support/status.h"

namespace imagesearch::server {

// Reason, retry advice and field come from the details, where there are any.
absl::Status FromGrpcStatus(const grpc::Status& status);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_FROM_GRPC_STATUS_H_
