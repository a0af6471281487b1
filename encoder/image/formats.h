// One decoder for each file format; for encoder/image and client/picture alone. What a decoder
// accepts follows Pillow: what Pillow loads without tolerance for truncated files is decoded to the
// same pixels, what it refuses is refused.
//
// Bytes given to a decoder have passed ProbeImage(). All are thread-safe. Errors are
// INVALID_ARGUMENT: CORRUPT_IMAGE, UNSUPPORTED_FORMAT (a kind of the format that is not read) or
// IMAGE_TOO_LARGE.
#ifndef IMAGESEARCH_ENCODER_IMAGE_FORMATS_H_
#define IMAGESEARCH_ENCODER_IMAGE_FORMATS_H_

#include <functional>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/error.h"
#include "base/limits.h"
#include "encoder/image/header.h"
#include "encoder/image/image.h"

namespace imagesearch::encoder {

struct DecodedImage {
  // Transparency laid over white.
  RgbImage pixels;
  // EXIF orientation, 1 to 8, still to be applied to the pixels.
  int orientation = 1;
};

absl::StatusOr<ImageHeader> ProbeJpeg(absl::string_view bytes);
absl::StatusOr<ImageHeader> ProbePng(absl::string_view bytes);
absl::StatusOr<ImageHeader> ProbeWebp(absl::string_view bytes);
absl::StatusOr<ImageHeader> ProbeGif(absl::string_view bytes);
absl::StatusOr<ImageHeader> ProbeBmp(absl::string_view bytes);

// `scale_for` gets the header and answers by how much (1, 2, 4 or 8) the decoder may divide both
// sides, rounding up.
absl::StatusOr<DecodedImage> DecodeJpeg(absl::string_view bytes, const ImageLimits& limits,
                                        const std::function<int(const ImageHeader&)>& scale_for);
absl::StatusOr<DecodedImage> DecodePng(absl::string_view bytes, const ImageLimits& limits);
absl::StatusOr<DecodedImage> DecodeWebp(absl::string_view bytes, const ImageLimits& limits);
absl::StatusOr<DecodedImage> DecodeGif(absl::string_view bytes, const ImageLimits& limits);
absl::StatusOr<DecodedImage> DecodeBmp(absl::string_view bytes, const ImageLimits& limits);

inline absl::Status CorruptImage(absl::string_view format, absl::string_view what) {
  return InvalidArgument("CORRUPT_IMAGE",
                         absl::StrCat("the ", format, " image is damaged: ", what));
}
inline absl::Status UnsupportedImage(absl::string_view format, absl::string_view what) {
  return InvalidArgument("UNSUPPORTED_FORMAT",
                         absl::StrCat("this kind of ", format, " image is not supported: ", what));
}

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_IMAGE_FORMATS_H_
