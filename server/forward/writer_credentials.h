// How a reader proves the writer's identity, and its own.
#ifndef IMAGESEARCH_SERVER_FORWARD_WRITER_CREDENTIALS_H_
#define IMAGESEARCH_SERVER_FORWARD_WRITER_CREDENTIALS_H_

#include <memory>

#include "absl/status/statusor.h"
#include "grpcpp/security/credentials.h"
#include "server/config/server_config.pb.h"

namespace imagesearch::server {

// As the settings --writer-* say; plaintext without them. The files are read now, and not again.
// INVALID_ARGUMENT for settings that don't go together, UNAVAILABLE or FAILED_PRECONDITION
// BAD_CERTIFICATE for files that can't be used.
absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> WriterCredentials(
    const ServerConfig& config);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_FORWARD_WRITER_CREDENTIALS_H_
