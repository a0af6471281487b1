// API keys and the file that lists them: made by `imagesearch key`, checked by the server. Keys are
// stored as salted hashes only.
#ifndef IMAGESEARCH_BASE_API_KEY_H_
#define IMAGESEARCH_BASE_API_KEY_H_

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace imagesearch {

// What the holder of a key may do. A higher scope includes the lower ones.
enum class KeyScope { kRead, kWrite, kAdmin };

absl::string_view KeyScopeName(KeyScope scope);  // "read", "write", "admin"
std::optional<KeyScope> ParseKeyScope(absl::string_view name);

// One entry of a key file.
struct ApiKeyEntry {
  // 12 hex digits, the part of the key between the underscores. No secret: it is in the logs.
  std::string id;
  std::string name;  // for people, at most 64 bytes
  std::string salt;  // 32 hex digits
  std::string hash;  // 64 hex digits: SHA-256 of the salt's bytes and the whole key
  KeyScope scope = KeyScope::kRead;
  std::vector<std::string> collections;  // only these; empty: all
  double per_second = 0;                 // items (searches, images, inputs) a second; 0: no bound
  int concurrent = 0;                    // calls at a time; 0: no bound
  absl::Time expires = absl::InfiniteFuture();
};

struct NewApiKey {
  std::string secret;  // isk_<id>_<43 characters>; shown once, kept nowhere
  ApiKeyEntry entry;
};

// A key with 256 bits of the system's randomness, and its entry.
absl::StatusOr<NewApiKey> MakeApiKey(absl::string_view name, KeyScope scope);

// The id in a key that looks like one; nullopt otherwise.
std::optional<std::string> ApiKeyId(absl::string_view secret);

// In time that depends on no secret. SHA-256 is enough here, where it would not be for passwords:
// nobody can guess 256 random bits.
bool MatchesApiKey(const ApiKeyEntry& entry, absl::string_view secret);

// JSON: {"keys": [{"id", "name", "salt", "sha256", "scope", "collections", "per_second",
// "concurrent", "expires"}]}; the last four may be absent. INVALID_ARGUMENT BAD_KEY_FILE names the
// entry that is wrong; unknown fields are wrong too, so that a misspelt restriction is no freedom.
absl::StatusOr<std::vector<ApiKeyEntry>> ParseApiKeyFile(absl::string_view text);
std::string FormatApiKeyFile(const std::vector<ApiKeyEntry>& entries);

}  // namespace imagesearch

#endif  // IMAGESEARCH_BASE_API_KEY_H_
