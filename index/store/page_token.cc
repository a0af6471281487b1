#include "index/store/page_token.h"

#include "absl/strings/escaping.h"
#include "base/error.h"
#include "index/store/crc32c.h"
#include "index/store/keys.h"

namespace imagesearch::index {
namespace {
// Version byte, collection, CRC-32C of the filter, last id, CRC-32C of all before; base64url.
constexpr char kVersion = 1;
constexpr size_t kFixedBytes = 1 + 4 + 4 + 4;
}  // namespace

std::string EncodePageToken(uint32_t collection, absl::string_view filter,
                            absl::string_view last_id) {
  std::string token(1, kVersion);
  AppendBigEndian(collection, &token);
  AppendBigEndian(Crc32c(filter.data(), filter.size()), &token);
  token.append(last_id.data(), last_id.size());
  AppendBigEndian(Crc32c(token.data(), token.size()), &token);
  return absl::WebSafeBase64Escape(token);
}

absl::StatusOr<std::string> DecodePageToken(absl::string_view token, uint32_t collection,
                                            absl::string_view filter) {
  std::string text;
  if (!absl::WebSafeBase64Unescape(token, &text) || text.size() < kFixedBytes ||
      text[0] != kVersion) {
    return InvalidArgument("BAD_PAGE_TOKEN", "page_token is not a token of this server");
  }
  const absl::string_view bytes(text);
  const absl::string_view body = bytes.substr(0, bytes.size() - 4);
  if (ReadBigEndian<uint32_t>(bytes.substr(body.size())) != Crc32c(body.data(), body.size())) {
    return InvalidArgument("BAD_PAGE_TOKEN", "page_token is damaged");
  }
  if (ReadBigEndian<uint32_t>(body.substr(1)) != collection ||
      ReadBigEndian<uint32_t>(body.substr(5)) != Crc32c(filter.data(), filter.size())) {
    return InvalidArgument("BAD_PAGE_TOKEN",
                           "page_token comes from a list of another collection or filter");
  }
  return std::string(body.substr(9));
}

}  // namespace imagesearch::index
