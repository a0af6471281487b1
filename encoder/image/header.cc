// Magic bytes to formats, and the limits.
#include "encoder/image/header.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "encoder/image/formats.h"

namespace imagesearch::encoder {

absl::string_view ImageFormatName(ImageFormat format) {
  switch (format) {
    case ImageFormat::kJpeg:
      return "JPEG";
    case ImageFormat::kPng:
      return "PNG";
    case ImageFormat::kWebp:
      return "WebP";
    case ImageFormat::kGif:
      return "GIF";
    case ImageFormat::kBmp:
      return "BMP";
  }
  return "?";
}

absl::StatusOr<ImageHeader> ProbeImage(absl::string_view bytes) {
  if (bytes.empty()) return InvalidArgument("EMPTY_IMAGE", "the image has no bytes");
  absl::StatusOr<ImageHeader> header;
  if (absl::StartsWith(bytes, "\xFF\xD8\xFF")) {
    header = ProbeJpeg(bytes);
  } else if (absl::StartsWith(bytes, "\x89PNG\r\n\x1A\n")) {
    header = ProbePng(bytes);
  } else if (absl::StartsWith(bytes, "RIFF") && bytes.size() >= 12 &&
             bytes.substr(8, 4) == "WEBP") {
    header = ProbeWebp(bytes);
  } else if (absl::StartsWith(bytes, "GIF87a") || absl::StartsWith(bytes, "GIF89a")) {
    header = ProbeGif(bytes);
  } else if (absl::StartsWith(bytes, "BM")) {
    header = ProbeBmp(bytes);
  } else {
    return InvalidArgument("UNSUPPORTED_FORMAT",
                           "the image is no JPEG, PNG, WebP, GIF or BMP (its first bytes say)");
  }
  if (header.ok() && (header->width == 0 || header->height == 0)) {
    return CorruptImage(ImageFormatName(header->format),
                        absl::StrCat("its size is ", header->width, " x ", header->height));
  }
  return header;
}

absl::Status CheckImageLimits(const ImageHeader& header, const ImageLimits& limits) {
  if (header.width <= limits.max_side && header.height <= limits.max_side &&
      header.pixels() <= limits.max_pixels) {
    return absl::OkStatus();
  }
  return InvalidArgument(
      "IMAGE_TOO_LARGE",
      absl::StrCat("the ", ImageFormatName(header.format), " image is ", header.width, " x ",
                   header.height, " pixels; the limits are ", limits.max_side, " a side and ",
                   limits.max_pixels, " in all"));
}

}  // namespace imagesearch::encoder
