// The gRPC port: everything that is set on a grpc::ServerBuilder, and why.
#ifndef IMAGESEARCH_SERVER_GRPC_GRPC_SERVER_H_
#define IMAGESEARCH_SERVER_GRPC_GRPC_SERVER_H_

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "grpcpp/grpcpp.h"
#include "server/config/server_config.pb.h"
#include "server/grpc/acceptor.h"
#include "server/security/certificate_store.h"

namespace imagesearch::server {

struct HostPort {
  std::string host;  // may be empty or in brackets
  int port = 0;
};

// "127.0.0.1:50051", "[::1]:0", "localhost:80". INVALID_ARGUMENT otherwise.
absl::StatusOr<HostPort> ParseHostPort(absl::string_view text);

// A gRPC server and what it needs while it lives.
struct ListeningServer {
  std::shared_ptr<grpc::ServerCredentials> credentials;
  std::shared_ptr<Acceptor> acceptor;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> handover;
  std::unique_ptr<grpc::Server> server;
  int port = 0;  // the one taken

  // Closes the port, and after `deadline` the calls that are left.
  void Shutdown(std::chrono::system_clock::time_point deadline);
};

// Opens config.listen() with `services`, which must outlive the server; with TLS where there are
// certificates. UNAVAILABLE when the port can't be had.
absl::StatusOr<ListeningServer> StartGrpcServer(const ServerConfig& config,
                                                const std::vector<grpc::Service*>& services,
                                                std::shared_ptr<CertificateStore> certificates);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_GRPC_GRPC_SERVER_H_
