// Decode, turn, crop, resize, cut the centre.
#include "encoder/image/preprocess.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "encoder/image/formats.h"
#include "encoder/image/header.h"
#include "encoder/image/orientation.h"
#include "encoder/image/perceptual_hash.h"

namespace imagesearch::encoder {
namespace {

absl::Status CheckOptions(const PixelOptions& options) {
  if (options.resize_size <= 0 || options.crop_size <= 0) {
    return absl::InternalError("resize_size and crop_size must be positive");
  }
  if (!options.crop) return absl::OkStatus();
  const CropBox& box = *options.crop;
  // Written so that NaN fails.
  if (box.left >= 0 && box.left < box.right && box.right <= 1 && box.top >= 0 &&
      box.top < box.bottom && box.bottom <= 1) {
    return absl::OkStatus();
  }
  return InvalidArgument("BAD_CROP_BOX",
                         "a crop box needs 0 <= left < right <= 1 and 0 <= top < bottom <= 1");
}

// The whole pixels that the box touches, at least one each way.
Rect CropPixels(const std::optional<CropBox>& crop, int width, int height) {
  if (!crop) return {0, 0, width, height};
  const auto span = [](double from, double to, int size) {
    const int begin = std::min(static_cast<int>(std::floor(from * size)), size - 1);
    const int end = std::clamp(static_cast<int>(std::ceil(to * size)), begin + 1, size);
    return std::pair(begin, end - begin);
  };
  const auto [left, crop_width] = span(crop->left, crop->right, width);
  const auto [top, crop_height] = span(crop->top, crop->bottom, height);
  return {left, top, crop_width, crop_height};
}

// The decoded short side must be at least this many times the size that it is resized to: at 2, as
// Pillow's draft mode allows, the pixels differ from those of a full decode by up to twice as much.
constexpr double kScaledSides = 3;

// The largest division of a JPEG's sides that leaves the short side of what is used large enough.
int JpegScale(const ImageHeader& header, const PixelOptions& options) {
  if (!options.scaled_jpeg_decode) return 1;
  double width = header.width, height = header.height;
  if (options.crop) {
    // The box is in upright coordinates; a quarter turn swaps its sides, so take the worse way.
    const double share = std::min(options.crop->right - options.crop->left,
                                  options.crop->bottom - options.crop->top);
    width *= share;
    height *= share;
  }
  const double room = std::min(width, height) / (kScaledSides * options.resize_size);
  return room >= 8 ? 8 : room >= 4 ? 4 : room >= 2 ? 2 : 1;
}

absl::StatusOr<DecodedImage> Decode(absl::string_view bytes, ImageFormat format,
                                    const PixelOptions& options) {
  switch (format) {
    case ImageFormat::kJpeg:
      return DecodeJpeg(bytes, options.limits, [&options](const ImageHeader& header) {
        return JpegScale(header, options);
      });
    case ImageFormat::kPng:
      return DecodePng(bytes, options.limits);
    case ImageFormat::kWebp:
      return DecodeWebp(bytes, options.limits);
    case ImageFormat::kGif:
      return DecodeGif(bytes, options.limits);
    case ImageFormat::kBmp:
      return DecodeBmp(bytes, options.limits);
  }
  return absl::InternalError("an image format without a decoder");
}

struct Size {
  int width, height;
};

// As transformers' get_resize_output_image_size: the longer side is cut to an integer.
Size ResizedSize(const RgbView& image, const PixelOptions& options) {
  const int size = options.resize_size;
  if (options.resize_mode == PixelOptions::ResizeMode::kExact) return {size, size};
  const auto longer = [size](int long_side, int short_side) {
    return static_cast<int>(static_cast<double>(int64_t{size} * long_side) / short_side);
  };
  if (image.width <= image.height) return {size, longer(image.height, image.width)};
  return {longer(image.width, image.height), size};
}

// Where the crop of one axis begins in the resized image; negative where it is padded.
int CropStart(int resized, int crop) {
  const int rest = resized - crop;
  return rest >= 0 ? rest / 2 : -((crop - resized + 1) / 2);
}

// Limits first.
absl::StatusOr<RgbImage> DecodeUpright(absl::string_view bytes, const PixelOptions& options) {
  if (bytes.size() > options.limits.max_bytes) {
    return InvalidArgument("IMAGE_TOO_LARGE",
                           absl::StrCat("the image has ", bytes.size(), " bytes, the limit is ",
                                        options.limits.max_bytes));
  }
  absl::StatusOr<ImageHeader> header = ProbeImage(bytes);
  if (!header.ok()) return header.status();
  if (absl::Status status = CheckImageLimits(*header, options.limits); !status.ok()) return status;
  absl::StatusOr<DecodedImage> decoded = Decode(bytes, header->format, options);
  if (!decoded.ok()) return decoded.status();
  return TurnUpright(std::move(decoded->pixels), decoded->orientation);
}

}  // namespace

absl::StatusOr<RgbImage> LoadThumbnail(absl::string_view bytes, int max_side,
                                       const ImageLimits& limits) {
  PixelOptions options;
  options.limits = limits;
  options.resize_size = max_side;
  absl::StatusOr<RgbImage> upright = DecodeUpright(bytes, options);
  if (!upright.ok()) return upright.status();
  const int longer = std::max(upright->width, upright->height);
  if (longer <= max_side) return upright;
  const auto shrunk = [&](int side) {
    return std::max(1, static_cast<int>(std::lround(double{1} * side * max_side / longer)));
  };
  const int width = shrunk(upright->width), height = shrunk(upright->height);
  return ResizeWindow(upright->view(), width, height, Resample::kBilinear, {0, 0, width, height});
}

absl::StatusOr<std::vector<uint8_t>> LoadPixels(absl::string_view bytes,
                                                const PixelOptions& options,
                                                std::optional<uint64_t>* perceptual_hash) {
  if (absl::Status status = CheckOptions(options); !status.ok()) return status;
  absl::StatusOr<RgbImage> decoded = DecodeUpright(bytes, options);
  if (!decoded.ok()) return decoded.status();
  const RgbImage& upright = *decoded;
  if (perceptual_hash != nullptr) *perceptual_hash = PerceptualHash(upright.view());

  const Rect part = CropPixels(options.crop, upright.width, upright.height);
  RgbView source = upright.view();
  source = {source.row(part.top) + size_t{3} * part.left, part.width, part.height, source.stride};

  const Size resized = ResizedSize(source, options);
  const int crop = options.crop_size;
  const int left = CropStart(resized.width, crop), top = CropStart(resized.height, crop);
  const Rect window = {std::max(left, 0), std::max(top, 0), std::min(resized.width, crop),
                       std::min(resized.height, crop)};
  RgbImage pixels = ResizeWindow(source, resized.width, resized.height, options.resample, window);
  if (window.width == crop && window.height == crop) return std::move(pixels.data);

  RgbImage padded(crop, crop);
  for (int y = 0; y < pixels.height; ++y) {
    std::memcpy(padded.row(y + std::max(-top, 0)) + size_t{3} * std::max(-left, 0), pixels.row(y),
                size_t{3} * pixels.width);
  }
  return std::move(padded.data);
}

}  // namespace imagesearch::encoder
