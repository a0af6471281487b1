// Small JPEG previews for the contact sheet.
#ifndef IMAGESEARCH_CLIENT_PICTURE_THUMBNAIL_H_
#define IMAGESEARCH_CLIENT_PICTURE_THUMBNAIL_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace imagesearch::client {

// The whole picture (any format that the server reads, or HEIC) with a long side of at most `side`
// pixels, upright, transparency over white, as a JPEG.
absl::StatusOr<std::string> Thumbnail(absl::string_view bytes, int side);

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_PICTURE_THUMBNAIL_H_
