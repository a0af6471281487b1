// See heif.h.
#include "client/picture/heif.h"

#include <libheif/heif.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace imagesearch::client {
namespace {

absl::Status Corrupt(const heif_error& error) {
  // Some messages end with a newline.
  return InvalidArgument("CORRUPT_IMAGE",
                         absl::StrCat("HEIC: ", absl::StripAsciiWhitespace(error.message)));
}

using Context = std::unique_ptr<heif_context, decltype(&heif_context_free)>;
using Handle = std::unique_ptr<heif_image_handle, decltype(&heif_image_handle_release)>;
using Image = std::unique_ptr<heif_image, decltype(&heif_image_release)>;

// The handle lives within its context.
absl::StatusOr<std::pair<Context, Handle>> OpenPrimary(absl::string_view bytes) {
  Context context(heif_context_alloc(), heif_context_free);
  heif_error error = heif_context_read_from_memory_without_copy(context.get(), bytes.data(),
                                                                bytes.size(), nullptr);
  if (error.code != heif_error_Ok) return Corrupt(error);
  heif_image_handle* handle = nullptr;
  error = heif_context_get_primary_image_handle(context.get(), &handle);
  if (error.code != heif_error_Ok) return Corrupt(error);
  return std::pair(std::move(context), Handle(handle, heif_image_handle_release));
}

}  // namespace

bool IsHeif(absl::string_view bytes) {
  if (bytes.size() < 12 || bytes.substr(4, 4) != "ftyp") return false;
  const absl::string_view brand = bytes.substr(8, 4);
  for (absl::string_view known : {"heic", "heix", "heim", "heis", "hevc", "hevx", "mif1", "msf1"}) {
    if (brand == known) return true;
  }
  return false;
}

absl::StatusOr<encoder::RgbImage> ReadHeif(absl::string_view bytes, int max_side) {
  auto primary = OpenPrimary(bytes);
  if (!primary.ok()) return primary.status();
  const Handle& handle = primary->second;
  heif_error error;

  heif_image* raw_image = nullptr;
  error = heif_decode_image(handle.get(), &raw_image, heif_colorspace_RGB,
                            heif_chroma_interleaved_RGB, nullptr);
  if (error.code != heif_error_Ok) return Corrupt(error);
  Image image(raw_image, heif_image_release);

  int width = heif_image_get_width(image.get(), heif_channel_interleaved);
  int height = heif_image_get_height(image.get(), heif_channel_interleaved);
  const int side = std::max(width, height);
  if (side > max_side) {
    width = std::max(1, static_cast<int>(int64_t{width} * max_side / side));
    height = std::max(1, static_cast<int>(int64_t{height} * max_side / side));
    heif_image* raw_scaled = nullptr;
    error = heif_image_scale_image(image.get(), &raw_scaled, width, height, nullptr);
    if (error.code != heif_error_Ok) return Corrupt(error);
    image.reset(raw_scaled);
  }
  int stride = 0;
  const uint8_t* plane =
      heif_image_get_plane_readonly(image.get(), heif_channel_interleaved, &stride);
  if (plane == nullptr) return InvalidArgument("CORRUPT_IMAGE", "HEIC: no pixels");
  encoder::RgbImage pixels(width, height);
  for (int y = 0; y < height; ++y) {
    const uint8_t* row = plane + size_t(stride) * y;
    std::copy(row, row + size_t{3} * width, pixels.row(y));
  }
  return pixels;
}

absl::StatusOr<HeifInfo> ReadHeifInfo(absl::string_view bytes) {
  auto primary = OpenPrimary(bytes);
  if (!primary.ok()) return primary.status();
  const heif_image_handle* handle = primary->second.get();
  HeifInfo info;
  info.width = heif_image_handle_get_width(handle);
  info.height = heif_image_handle_get_height(handle);
  heif_item_id id = 0;
  if (heif_image_handle_get_list_of_metadata_block_IDs(handle, "Exif", &id, 1) == 1) {
    std::string block(heif_image_handle_get_metadata_size(handle, id), '\0');
    const heif_error error = heif_image_handle_get_metadata(handle, id, block.data());
    // The block begins with the big-endian offset of the TIFF header behind these four bytes.
    if (error.code == heif_error_Ok && block.size() > 4) {
      uint64_t offset = 4;
      for (int i = 0; i < 4; ++i) {
        offset += uint64_t{static_cast<unsigned char>(block[i])} << (24 - 8 * i);
      }
      if (offset < block.size()) {
        info.exif = absl::StrCat(absl::string_view("Exif\0\0", 6), block.substr(offset));
      }
    }
  }
  return info;
}

}  // namespace imagesearch::client
