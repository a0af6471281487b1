// See prepare.h.
#include "client/picture/prepare.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/error.h"
#include "base/mutex.h"
#include "client/picture/decode.h"
#include "client/picture/heif.h"
#include "client/picture/jpeg.h"
#include "encoder/image/header.h"

namespace imagesearch::client {
namespace {

constexpr int kTargetSide = 2048;
constexpr int kQuality = 92;

absl::Status TooLarge(const std::string& what) {
  return InvalidArgument("IMAGE_TOO_LARGE",
                         absl::StrCat(what, " is beyond the server's limits and can't be shrunk"));
}

absl::StatusOr<encoder::RgbImage> DecodeAndShrink(absl::string_view bytes) {
  // One at a time: a PNG of 200 megapixels is in memory as a whole.
  static Mutex one_at_a_time;
  MutexLock lock(&one_at_a_time);
  return DecodePicture(bytes, kTargetSide);
}

}  // namespace

PictureLimits PictureLimits::Of(const v1::Limits& limits) {
  PictureLimits result;
  constexpr size_t kRoom = 64u << 10;  // id, metadata (16 KiB at most), framing
  if (limits.max_message_bytes() > 2 * kRoom) result.max_bytes = limits.max_message_bytes() - kRoom;
  if (limits.max_image_pixels() > 0) result.max_pixels = limits.max_image_pixels();
  if (limits.max_image_side() > 0) result.max_side = limits.max_image_side();
  return result;
}

absl::StatusOr<PreparedPicture> PreparePicture(std::string bytes, const PictureLimits& limits) {
  const double megabytes = static_cast<double>(bytes.size()) / 1e6;
  std::string what;
  absl::StatusOr<encoder::RgbImage> pixels;
  if (IsHeif(bytes)) {
    what = absl::StrFormat("HEIC of %.1f MB converted", megabytes);
    pixels = DecodeAndShrink(bytes);
  } else {
    const auto header = encoder::ProbeImage(bytes);
    const bool fits =
        bytes.size() <= limits.max_bytes &&
        (!header.ok() || (header->pixels() <= limits.max_pixels &&
                          header->width <= limits.max_side && header->height <= limits.max_side));
    if (fits) return PreparedPicture{std::move(bytes), ""};
    if (!header.ok()) return header.status();
    if (header->pixels() > kMostPixels) {
      return TooLarge(absl::StrFormat("%dx%d", header->width, header->height));
    }
    what = absl::StrFormat("%.1f Mpx %s of %.1f MB shrunk",
                           static_cast<double>(header->pixels()) / 1e6,
                           encoder::ImageFormatName(header->format), megabytes);
    pixels = DecodeAndShrink(bytes);
  }
  if (!pixels.ok()) return pixels.status();
  PreparedPicture prepared;
  prepared.bytes = WriteJpeg(*pixels, kQuality);
  prepared.note = absl::StrCat(what, " to ", pixels->width, "x", pixels->height);
  const uint64_t area = uint64_t(pixels->width) * pixels->height;
  if (prepared.bytes.empty() || prepared.bytes.size() > limits.max_bytes ||
      area > limits.max_pixels ||
      static_cast<uint32_t>(std::max(pixels->width, pixels->height)) > limits.max_side) {
    return TooLarge(absl::StrCat(pixels->width, "x", pixels->height));
  }
  return prepared;
}

}  // namespace imagesearch::client
