// Pictures in a folder of the server's disk, for the page, beside those that the service keeps
// itself.
#ifndef IMAGESEARCH_SERVER_HTTP_PICTURE_FILE_H_
#define IMAGESEARCH_SERVER_HTTP_PICTURE_FILE_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace imagesearch::server {

struct PictureFile {
  std::string type;  // "image/jpeg", ...
  std::string bytes;
};

// "image/jpeg", "image/png", "image/gif", "image/webp" or "image/bmp", by the first bytes; empty
// for anything else. SVG is no picture here: it can hold scripts.
std::string PictureType(absl::string_view bytes);

// Reads the picture at `path` (absolute, or relative to `root`), which must lie in folder `root`
// once all links are followed, be a JPEG, PNG, WebP, GIF or BMP by its first bytes, and have at
// most `max_bytes`. NOT_FOUND NO_PICTURE for everything else, without saying why.
absl::StatusOr<PictureFile> ReadPicture(const std::string& root, const std::string& path,
                                        uint64_t max_bytes);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HTTP_PICTURE_FILE_H_
