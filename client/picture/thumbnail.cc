// See thumbnail.h.
#include "client/picture/thumbnail.h"

#include <algorithm>
#include <utility>

#include "client/picture/heif.h"
#include "client/picture/jpeg.h"
#include "encoder/image/preprocess.h"

namespace imagesearch::client {

absl::StatusOr<std::string> Thumbnail(absl::string_view bytes, int side) {
  constexpr int kQuality = 82;
  std::string converted;
  if (IsHeif(bytes)) {
    auto pixels = ReadHeif(bytes, 4 * side);
    if (!pixels.ok()) return pixels.status();
    converted = WriteJpeg(*pixels, 95);
    bytes = converted;
  }
  encoder::PixelOptions options;
  options.resize_size = side;
  options.crop_size = side;
  options.limits = {.max_bytes = 1u << 30, .max_pixels = 200'000'000, .max_side = 65'535};
  auto square = encoder::LoadPixels(bytes, options);
  if (!square.ok()) return square.status();
  encoder::RgbImage image(side, side);
  image.data = *std::move(square);
  return WriteJpeg(image, kQuality);
}

}  // namespace imagesearch::client
