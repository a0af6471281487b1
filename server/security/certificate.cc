// OpenSSL's parsing and checks; building the SSL_CTX is the proof that the pair works.
#include "server/security/certificate.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <fstream>
#include <sstream>
#include <utility>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace imagesearch::server {
namespace {

template <auto free>
struct Freed {
  template <typename T>
  void operator()(T* object) const {
    free(object);
  }
};
using X509Ptr = std::unique_ptr<X509, Freed<X509_free>>;
using KeyPtr = std::unique_ptr<EVP_PKEY, Freed<EVP_PKEY_free>>;
using BioPtr = std::unique_ptr<BIO, Freed<BIO_free>>;

absl::Status Bad(absl::string_view what) {
  const unsigned long error = ERR_peek_last_error();  // NOLINT(google-runtime-int): OpenSSL's type
  ERR_clear_error();
  const char* reason = error == 0 ? nullptr : ERR_reason_error_string(error);
  return Error(absl::StatusCode::kFailedPrecondition, "BAD_CERTIFICATE",
               reason == nullptr ? std::string(what) : absl::StrCat(what, " (", reason, ")"));
}

BioPtr Reader(const std::string& pem) {
  return BioPtr(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
}

absl::StatusOr<std::vector<X509Ptr>> ParseCertificates(const std::string& pem,
                                                       absl::string_view what) {
  BioPtr reader = Reader(pem);
  std::vector<X509Ptr> certificates;
  while (X509* certificate = PEM_read_bio_X509(reader.get(), nullptr, nullptr, nullptr)) {
    certificates.emplace_back(certificate);
  }
  // The end of the text is an error too, "no start line"; any other is damage.
  if (ERR_GET_REASON(ERR_peek_last_error()) != PEM_R_NO_START_LINE || certificates.empty()) {
    return Bad(absl::StrCat(what, " is not a list of PEM certificates"));
  }
  ERR_clear_error();
  return certificates;
}

absl::StatusOr<absl::Time> ToTime(const ASN1_TIME* time) {
  std::tm parts = {};
  if (time == nullptr || ASN1_TIME_to_tm(time, &parts) != 1) {
    return Bad("the certificate's dates can't be read");
  }
  return absl::FromTM(parts, absl::UTCTimeZone());
}

absl::StatusOr<absl::Time> CheckDates(const std::vector<X509Ptr>& chain, absl::Time now) {
  absl::Time earliest = absl::InfiniteFuture();
  for (const X509Ptr& certificate : chain) {
    absl::StatusOr<absl::Time> begin = ToTime(X509_get0_notBefore(certificate.get()));
    if (!begin.ok()) return begin.status();
    absl::StatusOr<absl::Time> end = ToTime(X509_get0_notAfter(certificate.get()));
    if (!end.ok()) return end.status();
    if (now < *begin) {
      return Bad(absl::StrCat("the certificate is not valid before ", absl::FormatTime(*begin)));
    }
    if (now >= *end) {
      return Bad(absl::StrCat("the certificate expired on ", absl::FormatTime(*end)));
    }
    earliest = std::min(earliest, *end);
  }
  return earliest;
}

std::string Fingerprint(X509* certificate) {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  if (X509_digest(certificate, EVP_sha256(), digest, &size) != 1) return "";
  return absl::BytesToHexString(absl::string_view(reinterpret_cast<const char*>(digest), size));
}

// An encrypted key is refused instead of asked for on the terminal.
int NoPassphrase(char*, int, int, void*) { return 0; }

absl::Status AddClientAuthorities(const std::string& pem, SSL_CTX* context) {
  absl::StatusOr<std::vector<X509Ptr>> authorities = ParseCertificates(pem, "the client CA file");
  if (!authorities.ok()) return authorities.status();
  X509_STORE* store = SSL_CTX_get_cert_store(context);
  for (const X509Ptr& authority : *authorities) {
    if (X509_STORE_add_cert(store, authority.get()) != 1 ||
        SSL_CTX_add_client_CA(context, authority.get()) != 1) {
      return Bad("an authority of the client CA file can't be used");
    }
  }
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<SSL_CTX>> MakeContext(const TlsPems& pems,
                                                     const std::vector<X509Ptr>& chain) {
  BioPtr reader = Reader(pems.key);
  const KeyPtr key(PEM_read_bio_PrivateKey(reader.get(), nullptr, &NoPassphrase, nullptr));
  if (key == nullptr) return Bad("the key file holds no readable private key");
  std::shared_ptr<SSL_CTX> context(SSL_CTX_new(TLS_server_method()), &SSL_CTX_free);
  if (context == nullptr) return Bad("OpenSSL has no memory");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  // No resumption: each connection is checked against the authorities that are in force.
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
  SSL_CTX_set_mode(context.get(),
                   SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
  if (SSL_CTX_use_certificate(context.get(), chain[0].get()) != 1) {
    return Bad("the certificate can't be used");
  }
  for (size_t i = 1; i < chain.size(); ++i) {
    if (X509_check_issued(chain[i].get(), chain[i - 1].get()) != X509_V_OK) {
      return Bad(absl::StrCat("the chain is out of order: certificate ", i + 1,
                              " of the file did not issue the one before it"));
    }
    if (SSL_CTX_add1_chain_cert(context.get(), chain[i].get()) != 1) {
      return Bad("the chain can't be used");
    }
  }
  if (SSL_CTX_use_PrivateKey(context.get(), key.get()) != 1 ||
      SSL_CTX_check_private_key(context.get()) != 1) {
    return Bad("the key does not belong to the certificate");
  }
  if (!pems.client_ca.empty()) {
    absl::Status status = AddClientAuthorities(pems.client_ca, context.get());
    if (!status.ok()) return status;
  }
  return context;
}

absl::Status ReadInto(const std::string& path, std::string* out) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  if (!file || !(text << file.rdbuf())) {
    return absl::UnavailableError(absl::StrCat("can't read ", path));
  }
  *out = text.str();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TlsPems> ReadPems(const TlsFiles& files) {
  TlsPems pems;
  absl::Status status = ReadInto(files.certificate, &pems.certificate);
  if (status.ok()) status = ReadInto(files.key, &pems.key);
  if (status.ok() && !files.client_ca.empty()) status = ReadInto(files.client_ca, &pems.client_ca);
  if (!status.ok()) return status;
  return pems;
}

absl::StatusOr<TlsMaterial> CheckPems(TlsPems pems, absl::Time now) {
  absl::StatusOr<std::vector<X509Ptr>> chain =
      ParseCertificates(pems.certificate, "the certificate file");
  if (!chain.ok()) return chain.status();
  absl::StatusOr<absl::Time> end = CheckDates(*chain, now);
  if (!end.ok()) return end.status();
  absl::StatusOr<std::shared_ptr<SSL_CTX>> context = MakeContext(pems, *chain);
  if (!context.ok()) return context.status();
  return TlsMaterial{std::move(pems), *end, Fingerprint((*chain)[0].get()), *std::move(context)};
}

}  // namespace imagesearch::server
