// OpenSSL for randomness, hash and comparison; nlohmann for the file.
#include "base/api_key.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/error.h"
#include "nlohmann/json.hpp"

namespace imagesearch {
namespace {

using nlohmann::ordered_json;

constexpr absl::string_view kPrefix = "isk_";
constexpr size_t kIdDigits = 12, kSaltDigits = 32, kHashDigits = 64, kSecretLetters = 43;
constexpr size_t kMaxName = 64, kMaxCollections = 256, kMaxKeys = 10000;

bool IsHex(absl::string_view text, size_t digits) {
  return text.size() == digits && std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f');
         });
}

absl::StatusOr<std::string> RandomBytes(size_t count) {
  std::string bytes(count, '\0');
  if (RAND_bytes(reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(count)) != 1) {
    return absl::InternalError("the system gives no random bytes");
  }
  return bytes;
}

std::string Hash(absl::string_view salt_hex, absl::string_view secret) {
  const std::string input = absl::StrCat(absl::HexStringToBytes(salt_hex), secret);
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(input.data()), input.size(), digest);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest), sizeof(digest)));
}

absl::Status Wrong(size_t index, absl::string_view what) {
  return InvalidArgument("BAD_KEY_FILE", absl::StrCat("key ", index + 1, " of the file: ", what));
}

absl::Status CheckFields(const ordered_json& key, size_t index) {
  static const auto* known =
      new std::set<std::string>{"id",          "name",       "salt",       "sha256", "scope",
                                "collections", "per_second", "concurrent", "expires"};
  if (!key.is_object()) return Wrong(index, "is no object");
  for (const auto& [name, value] : key.items()) {
    if (known->count(name) == 0) return Wrong(index, absl::StrCat("unknown field ", name));
  }
  for (const char* name : {"id", "name", "salt", "sha256", "scope"}) {
    if (!key.contains(name) || !key[name].is_string()) {
      return Wrong(index, absl::StrCat("needs a text ", name));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadRestrictions(const ordered_json& key, size_t index, ApiKeyEntry* entry) {
  if (key.contains("collections")) {
    const ordered_json& names = key["collections"];
    // An empty list would mean "none" to its writer and "all" to the check.
    if (!names.is_array() || names.empty() || names.size() > kMaxCollections) {
      return Wrong(index,
                   absl::StrCat("collections must be a list of 1 to ", kMaxCollections, " names"));
    }
    for (const ordered_json& name : names) {
      if (!name.is_string() || name.get<std::string>().empty()) {
        return Wrong(index, "a name in collections is no text, or empty");
      }
      entry->collections.push_back(name.get<std::string>());
    }
  }
  if (key.contains("per_second")) {
    if (!key["per_second"].is_number()) return Wrong(index, "per_second must be a number");
    entry->per_second = key["per_second"].get<double>();
    if (!std::isfinite(entry->per_second) || entry->per_second <= 0) {
      return Wrong(index, "per_second must be above 0");
    }
  }
  if (key.contains("concurrent")) {
    const ordered_json& value = key["concurrent"];
    if (!value.is_number_integer() || value.get<int64_t>() < 1 || value.get<int64_t>() > 1000000) {
      return Wrong(index, "concurrent must be a whole number from 1 to 1000000");
    }
    entry->concurrent = value.get<int>();
  }
  if (key.contains("expires")) {
    std::string error;
    if (!key["expires"].is_string() ||
        !absl::ParseTime(absl::RFC3339_full, key["expires"].get<std::string>(), &entry->expires,
                         &error)) {
      return Wrong(index, "expires must be a time such as 2030-01-31T00:00:00Z");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ApiKeyEntry> ReadEntry(const ordered_json& key, size_t index) {
  absl::Status status = CheckFields(key, index);
  if (!status.ok()) return status;
  ApiKeyEntry entry;
  entry.id = key["id"].get<std::string>();
  entry.name = key["name"].get<std::string>();
  entry.salt = key["salt"].get<std::string>();
  entry.hash = key["sha256"].get<std::string>();
  if (!IsHex(entry.id, kIdDigits)) return Wrong(index, "id must be 12 lower-case hex digits");
  if (!IsHex(entry.salt, kSaltDigits)) return Wrong(index, "salt must be 32 lower-case hex digits");
  if (!IsHex(entry.hash, kHashDigits)) {
    return Wrong(index, "sha256 must be 64 lower-case hex digits");
  }
  if (entry.name.size() > kMaxName) return Wrong(index, "name takes more than 64 bytes");
  const std::optional<KeyScope> scope = ParseKeyScope(key["scope"].get<std::string>());
  if (!scope) return Wrong(index, "scope must be read, write or admin");
  entry.scope = *scope;
  status = ReadRestrictions(key, index, &entry);
  if (!status.ok()) return status;
  return entry;
}

}  // namespace

absl::string_view KeyScopeName(KeyScope scope) {
  switch (scope) {
    case KeyScope::kRead:
      return "read";
    case KeyScope::kWrite:
      return "write";
    case KeyScope::kAdmin:
      return "admin";
  }
  return "";
}

std::optional<KeyScope> ParseKeyScope(absl::string_view name) {
  for (const KeyScope scope : {KeyScope::kRead, KeyScope::kWrite, KeyScope::kAdmin}) {
    if (name == KeyScopeName(scope)) return scope;
  }
  return std::nullopt;
}

absl::StatusOr<NewApiKey> MakeApiKey(absl::string_view name, KeyScope scope) {
  if (name.size() > kMaxName) {
    return InvalidArgument("BAD_NAME", "the name of a key takes at most 64 bytes");
  }
  absl::StatusOr<std::string> id = RandomBytes(kIdDigits / 2);
  absl::StatusOr<std::string> salt = RandomBytes(kSaltDigits / 2);
  absl::StatusOr<std::string> secret = RandomBytes(32);
  if (!id.ok() || !salt.ok() || !secret.ok()) return absl::InternalError("no random bytes");
  NewApiKey made;
  made.entry.id = absl::BytesToHexString(*id);
  made.entry.name = std::string(name);
  made.entry.salt = absl::BytesToHexString(*salt);
  made.entry.scope = scope;
  made.secret = absl::StrCat(kPrefix, made.entry.id, "_", absl::WebSafeBase64Escape(*secret));
  made.entry.hash = Hash(made.entry.salt, made.secret);
  return made;
}

std::optional<std::string> ApiKeyId(absl::string_view secret) {
  if (!absl::ConsumePrefix(&secret, kPrefix) || secret.size() != kIdDigits + 1 + kSecretLetters ||
      secret[kIdDigits] != '_' || !IsHex(secret.substr(0, kIdDigits), kIdDigits)) {
    return std::nullopt;
  }
  return std::string(secret.substr(0, kIdDigits));
}

bool MatchesApiKey(const ApiKeyEntry& entry, absl::string_view secret) {
  const std::string hash = Hash(entry.salt, secret);
  return hash.size() == entry.hash.size() &&
         CRYPTO_memcmp(hash.data(), entry.hash.data(), hash.size()) == 0;
}

absl::StatusOr<std::vector<ApiKeyEntry>> ParseApiKeyFile(absl::string_view text) {
  const ordered_json root = ordered_json::parse(text.begin(), text.end(), nullptr, false);
  if (!root.is_object() || root.size() != 1 || !root.contains("keys") || !root["keys"].is_array()) {
    return InvalidArgument("BAD_KEY_FILE",
                           "the key file is not JSON of the form {\"keys\": [...]}");
  }
  if (root["keys"].size() > kMaxKeys) {
    return InvalidArgument("BAD_KEY_FILE",
                           absl::StrCat("the key file lists more than ", kMaxKeys, " keys"));
  }
  std::vector<ApiKeyEntry> entries;
  std::set<std::string> ids;
  for (const ordered_json& key : root["keys"]) {
    absl::StatusOr<ApiKeyEntry> entry = ReadEntry(key, entries.size());
    if (!entry.ok()) return entry.status();
    if (!ids.insert(entry->id).second) return Wrong(entries.size(), "its id is there twice");
    entries.push_back(*std::move(entry));
  }
  return entries;
}

std::string FormatApiKeyFile(const std::vector<ApiKeyEntry>& entries) {
  ordered_json keys = ordered_json::array();
  for (const ApiKeyEntry& entry : entries) {
    ordered_json key = {{"id", entry.id},
                        {"name", entry.name},
                        {"salt", entry.salt},
                        {"sha256", entry.hash},
                        {"scope", std::string(KeyScopeName(entry.scope))}};
    if (!entry.collections.empty()) key["collections"] = entry.collections;
    if (entry.per_second > 0) key["per_second"] = entry.per_second;
    if (entry.concurrent > 0) key["concurrent"] = entry.concurrent;
    if (entry.expires != absl::InfiniteFuture()) {
      key["expires"] = absl::FormatTime(absl::RFC3339_sec, entry.expires, absl::UTCTimeZone());
    }
    keys.push_back(std::move(key));
  }
  return ordered_json({{"keys", keys}})
             .dump(2, ' ', false, ordered_json::error_handler_t::replace) +
         "\n";
}

}  // namespace imagesearch
