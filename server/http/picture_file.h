// Pictures on the server's disk, for the page: the service itself keeps no originals.
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

// Reads the picture at `path` (absolute, or relative to `root`), which must lie in folder `root`
// once all links are followed, be a JPEG, PNG, WebP, GIF or BMP by its first bytes, and have at
// most `max_bytes`. NOT_FOUND NO_PICTURE for everything else, without saying why.
absl::StatusOr<PictureFile> ReadPicture(const std::string& root, const std::string& path,
                                        uint64_t max_bytes);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HTTP_PICTURE_FILE_H_
