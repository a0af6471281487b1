// See decode.h. The one place outside encoder/image that uses its decoders directly: a second set
// of decoders would see pictures differently from the server.
#include "client/picture/decode.h"

#include <algorithm>
#include <utility>

#include "client/picture/heif.h"
#include "encoder/image/formats.h"
#include "encoder/image/header.h"
#include "encoder/image/orientation.h"
#include "encoder/image/resize.h"

namespace imagesearch::client {
namespace {

absl::StatusOr<encoder::DecodedImage> Decode(absl::string_view bytes, encoder::ImageFormat format,
                                             const ImageLimits& limits, uint32_t max_side) {
  switch (format) {
    case encoder::ImageFormat::kJpeg:
      return encoder::DecodeJpeg(bytes, limits, [&](const encoder::ImageHeader& header) {
        int scale = 1;
        while (scale < 8 && std::max(header.width, header.height) / (2 * scale) >= max_side) {
          scale *= 2;
        }
        return scale;
      });
    case encoder::ImageFormat::kPng:
      return encoder::DecodePng(bytes, limits);
    case encoder::ImageFormat::kWebp:
      return encoder::DecodeWebp(bytes, limits);
    case encoder::ImageFormat::kGif:
      return encoder::DecodeGif(bytes, limits);
    case encoder::ImageFormat::kBmp:
      return encoder::DecodeBmp(bytes, limits);
  }
  return absl::InternalError("an image format without a decoder");
}

}  // namespace

absl::StatusOr<encoder::RgbImage> DecodePicture(absl::string_view bytes, int max_side) {
  if (IsHeif(bytes)) return ReadHeif(bytes, max_side);
  const auto header = encoder::ProbeImage(bytes);
  if (!header.ok()) return header.status();
  const ImageLimits limits = {.max_bytes = 1u << 30, .max_pixels = kMostPixels, .max_side = 65'535};
  if (absl::Status status = encoder::CheckImageLimits(*header, limits); !status.ok()) return status;
  auto decoded = Decode(bytes, header->format, limits, static_cast<uint32_t>(max_side));
  if (!decoded.ok()) return decoded.status();
  encoder::RgbImage image = std::move(decoded->pixels);
  const int side = std::max(image.width, image.height);
  if (side > max_side) {
    const int width = std::max(1, static_cast<int>(int64_t{image.width} * max_side / side));
    const int height = std::max(1, static_cast<int>(int64_t{image.height} * max_side / side));
    image = encoder::ResizeWindow(image.view(), width, height, encoder::Resample::kBox,
                                  {.left = 0, .top = 0, .width = width, .height = height});
  }
  return encoder::TurnUpright(std::move(image), decoded->orientation);
}

}  // namespace imagesearch::client
