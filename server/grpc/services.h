// The gRPC services of imagesearch.v1, by raw callback methods.
#ifndef IMAGESEARCH_SERVER_GRPC_SERVICES_H_
#define IMAGESEARCH_SERVER_GRPC_SERVICES_H_

#include <memory>
#include <vector>

#include "grpcpp/grpcpp.h"
#include "server/call_runner.h"
#include "server/forward/forwarder.h"
#include "server/grpc/upsert_stream.h"

namespace imagesearch::server {

// Both must outlive the server that the services are registered with.
std::vector<std::unique_ptr<grpc::Service>> MakeServices(CallRunner* runner, UpsertStreams* streams,
                                                         Forwarder* forwarder);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_GRPC_SERVICES_H_
