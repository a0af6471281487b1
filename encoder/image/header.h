// What an image file says of itself before anything is decoded: its format and size, checked
// against the limits.
#ifndef IMAGESEARCH_ENCODER_IMAGE_HEADER_H_
#define IMAGESEARCH_ENCODER_IMAGE_HEADER_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/limits.h"

namespace imagesearch::encoder {

enum class ImageFormat { kJpeg, kPng, kWebp, kGif, kBmp };

// "JPEG", "PNG", ...
absl::string_view ImageFormatName(ImageFormat format);

struct ImageHeader {
  ImageFormat format = ImageFormat::kJpeg;
  // Pixels as stored: not turned by EXIF. For GIF and WebP animations, of the canvas.
  uint32_t width = 0, height = 0;

  uint64_t pixels() const { return uint64_t{width} * height; }
};

// Reads the header alone: bounded work, no allocation of pixels. The format follows from the magic
// bytes, never from a name or declared type. Errors, all INVALID_ARGUMENT: EMPTY_IMAGE,
// UNSUPPORTED_FORMAT, CORRUPT_IMAGE (a header that can't be read, or a side of 0). Applies no
// limits.
absl::StatusOr<ImageHeader> ProbeImage(absl::string_view bytes);

// INVALID_ARGUMENT IMAGE_TOO_LARGE when the header exceeds `limits` in either side or in pixels.
absl::Status CheckImageLimits(const ImageHeader& header, const ImageLimits& limits);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_IMAGE_HEADER_H_
