// gRPC's TLS from a certificate store: each new connection gets the certificate in force.
#ifndef IMAGESEARCH_SERVER_GRPC_TLS_CREDENTIALS_H_
#define IMAGESEARCH_SERVER_GRPC_TLS_CREDENTIALS_H_

#include <memory>

#include "grpcpp/security/server_credentials.h"
#include "server/security/certificate_store.h"

namespace imagesearch::server {

// With client authorities in the store, a connection without a certificate of theirs fails in its
// handshake. Must outlive the server that uses it: gRPC does not keep it.
std::shared_ptr<grpc::ServerCredentials> MakeTlsCredentials(
    std::shared_ptr<CertificateStore> store);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_GRPC_TLS_CREDENTIALS_H_
