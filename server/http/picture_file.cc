// The path is a stranger's (metadata): it is resolved first and compared afterwards.
#include "server/http/picture_file.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <system_error>

#include "absl/strings/match.h"
#include "base/error.h"

namespace imagesearch::server {
namespace {

namespace fs = std::filesystem;

bool IsInside(const fs::path& root, const fs::path& file) {
  const auto [end, unused] = std::mismatch(root.begin(), root.end(), file.begin(), file.end());
  return end == root.end();
}

}  // namespace

std::string PictureType(absl::string_view bytes) {
  if (absl::StartsWith(bytes, "\xff\xd8\xff")) return "image/jpeg";
  if (absl::StartsWith(bytes, "\x89PNG\r\n\x1a\n")) return "image/png";
  if (absl::StartsWith(bytes, "GIF87a") || absl::StartsWith(bytes, "GIF89a")) return "image/gif";
  if (absl::StartsWith(bytes, "RIFF") && bytes.size() > 12 && bytes.substr(8, 4) == "WEBP") {
    return "image/webp";
  }
  if (absl::StartsWith(bytes, "BM")) return "image/bmp";
  return "";
}

absl::StatusOr<PictureFile> ReadPicture(const std::string& root, const std::string& path,
                                        uint64_t max_bytes) {
  const absl::Status missing =
      Error(absl::StatusCode::kNotFound, "NO_PICTURE", "no picture of this image can be shown");
  if (path.empty() || path.find('\0') != std::string::npos) return missing;
  std::error_code error;
  const fs::path folder = fs::canonical(root, error);
  if (error) return missing;
  const fs::path file = fs::canonical(folder / path, error);  // an absolute path replaces `folder`
  if (error || !IsInside(folder, file) || !fs::is_regular_file(file, error) || error) {
    return missing;
  }
  const uint64_t size = fs::file_size(file, error);
  if (error || size > max_bytes) return missing;
  PictureFile picture;
  picture.bytes.resize(size);
  std::ifstream in(file, std::ios::binary);
  in.read(picture.bytes.data(), static_cast<std::streamsize>(size));
  if (static_cast<uint64_t>(in.gcount()) != size) return missing;
  picture.type = PictureType(picture.bytes);
  if (picture.type.empty()) return missing;
  return picture;
}

}  // namespace imagesearch::server
