// Nothing outside the folder is read, whatever metadata and ids say.
#include "server/operations/picture_source.h"

#include <openssl/sha.h>

#include <filesystem>
#include <fstream>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/strip.h"

namespace imagesearch::server {
namespace {

namespace fs = std::filesystem;

constexpr char kPathKey[] = "path";

std::string Sha256Hex(const std::string& bytes) {
  unsigned char digest[SHA256_DIGEST_LENGTH];
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest);
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest), sizeof(digest)));
}

}  // namespace

std::string PictureSource::ReadFile(const std::string& path,
                                    const std::string& content_hash) const {
  if (folder_.empty() || path.empty()) return "";
  std::error_code error;
  const fs::path root = fs::canonical(folder_, error);
  if (error) return "";
  // Links are followed first, so what leads out of the folder is seen.
  const fs::path file = fs::canonical(root / path, error);
  if (error || !absl::StartsWith(file.string(), root.string() + "/")) return "";
  const uint64_t size = fs::is_regular_file(file, error) ? fs::file_size(file, error) : 0;
  if (error || size == 0 || size > max_bytes_) return "";
  std::string bytes(size, '\0');
  std::ifstream stream(file, std::ios::binary);
  if (!stream.read(bytes.data(), static_cast<std::streamsize>(size))) return "";
  return Sha256Hex(bytes) == content_hash ? bytes : "";
}

absl::StatusOr<std::optional<Picture>> PictureSource::Read(index::Collection& collection,
                                                           const std::string& id) const {
  auto record = collection.GetWithOriginal(id, /*with_vector=*/false, max_bytes_);
  if (!record.ok()) return record.status();
  if (!*record) return std::nullopt;
  Picture picture;
  picture.record = **std::move(record);
  picture.bytes = std::exchange(picture.record.original, "");
  picture.is_kept = !picture.bytes.empty();
  if (picture.is_kept) return picture;
  absl::string_view uri = picture.record.source_uri;
  absl::ConsumePrefix(&uri, "file:");
  picture.bytes = ReadFile(std::string(uri), picture.record.content_hash);
  if (!picture.bytes.empty()) return picture;
  const auto& fields = picture.record.metadata.fields();
  if (auto path = fields.find(kPathKey); path != fields.end()) {
    picture.bytes = ReadFile(path->second.string_value(), picture.record.content_hash);
  }
  if (picture.bytes.empty()) picture.bytes = ReadFile(id, picture.record.content_hash);
  return picture;
}

}  // namespace imagesearch::server
