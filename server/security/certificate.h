// A certificate, its key and the clients' authorities, read from PEM files and proven to belong
// together before anything serves with them.
#ifndef IMAGESEARCH_SERVER_SECURITY_CERTIFICATE_H_
#define IMAGESEARCH_SERVER_SECURITY_CERTIFICATE_H_

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

struct ssl_ctx_st;

namespace imagesearch::server {

struct TlsFiles {
  std::string certificate;  // PEM: the server's, then its issuers up to the root's child
  std::string key;          // PEM, not encrypted
  std::string client_ca;    // PEM: who may issue clients' certificates; empty: none are asked for
};

// The contents of those files. Holds the private key: never log it.
struct TlsPems {
  std::string certificate, key, client_ca;
  friend bool operator==(const TlsPems&, const TlsPems&) = default;
};

struct TlsMaterial {
  TlsPems pems;
  absl::Time not_after;     // the earliest of the chain
  std::string fingerprint;  // SHA-256 of the server's certificate, hex: no secret
  // For servers that speak TLS through OpenSSL: asks for a client certificate where `client_ca` is
  // given, and leaves it to the caller to insist on one.
  std::shared_ptr<ssl_ctx_st> context;
};

// UNAVAILABLE with the path when a file can't be read.
absl::StatusOr<TlsPems> ReadPems(const TlsFiles& files);

// FAILED_PRECONDITION BAD_CERTIFICATE says what is wrong: not PEM, key of another certificate, a
// chain out of order, expired or not valid yet at `now`, a key too weak for OpenSSL's level.
absl::StatusOr<TlsMaterial> CheckPems(TlsPems pems, absl::Time now);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_SECURITY_CERTIFICATE_H_
