// Any picture as upright pixels of bounded size.
#ifndef IMAGESEARCH_CLIENT_PICTURE_DECODE_H_
#define IMAGESEARCH_CLIENT_PICTURE_DECODE_H_

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "encoder/image/image.h"

namespace imagesearch::client {

// The most pixels that DecodePicture takes. JPEG is decoded at reduced size; of other formats 200
// megapixels take 0.6 to 0.8 GB while they are shrunk.
inline constexpr uint64_t kMostPixels = 200'000'000;

// A JPEG, PNG, WebP, GIF, BMP or HEIC picture with a long side of at most `max_side`, turned
// upright, transparency over white. INVALID_ARGUMENT: EMPTY_IMAGE, UNSUPPORTED_FORMAT,
// CORRUPT_IMAGE, IMAGE_TOO_LARGE. Thread-safe.
absl::StatusOr<encoder::RgbImage> DecodePicture(absl::string_view bytes, int max_side);

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_PICTURE_DECODE_H_
