// How a client reaches an imagesearchd: address, TLS, keepalive, retries, message sizes.
#ifndef IMAGESEARCH_CLIENT_CHANNEL_H_
#define IMAGESEARCH_CLIENT_CHANNEL_H_

#include <cstddef>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "grpcpp/channel.h"

namespace imagesearch::client {

struct ChannelOptions {
  // HOST:PORT, or any gRPC target such as dns:///search.internal:8080.
  std::string target = "127.0.0.1:50051";

  // Largest message sent. Also the retry buffer of each call: gRPC's own default of 256 KiB would
  // leave most image uploads without a retry.
  size_t max_message_bytes = 8u << 20;
  // Largest reply accepted. The server's budget for a reply is below 4 MiB by default.
  size_t max_reply_bytes = 64u << 20;

  // Spreads calls over every address that the name resolves to (a headless Kubernetes service,
  // say). Off: one connection, which is right behind a proxy that balances gRPC itself.
  bool round_robin = false;

  // Attempts of a unary call that ends UNAVAILABLE or RESOURCE_EXHAUSTED, the first one included
  // (1 to 5). Waits grow from 0.1 s to 2 s, or are what the server asks for.
  int max_attempts = 4;

  // Pings on connections with open calls find a dead server. The server accepts one each 10 s.
  absl::Duration keepalive_time = absl::Seconds(30);
  absl::Duration keepalive_timeout = absl::Seconds(10);

  bool tls = false;
  std::string ca_file;           // PEM; empty: the system's roots
  std::string certificate_file;  // PEM, with key_file: the client's own certificate (mTLS)
  std::string key_file;
  std::string tls_server_name;  // expected in the server's certificate; empty: the target's host
};

// Does not connect yet: the first call does. INVALID_ARGUMENT when a PEM file can't be read or an
// option is out of range.
absl::StatusOr<std::shared_ptr<grpc::Channel>> MakeChannel(const ChannelOptions& options);

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_CHANNEL_H_
