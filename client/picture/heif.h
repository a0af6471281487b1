// HEIC photographs, as phones store them, over libheif.
#ifndef IMAGESEARCH_CLIENT_PICTURE_HEIF_H_
#define IMAGESEARCH_CLIENT_PICTURE_HEIF_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "encoder/image/image.h"

namespace imagesearch::client {

// By the brand in the first bytes. AVIF is another codec and not meant.
bool IsHeif(absl::string_view bytes);

// The primary picture, upright, with a long side of at most `max_side`. INVALID_ARGUMENT
// CORRUPT_IMAGE with libheif's words.
absl::StatusOr<encoder::RgbImage> ReadHeif(absl::string_view bytes, int max_side);

struct HeifInfo {
  int width = 0, height = 0;  // upright
  std::string exif;           // the EXIF block, "Exif\0\0" first; empty when there is none
};

// Of the primary picture, without decoding it. INVALID_ARGUMENT CORRUPT_IMAGE.
absl::StatusOr<HeifInfo> ReadHeifInfo(absl::string_view bytes);

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_PICTURE_HEIF_H_
