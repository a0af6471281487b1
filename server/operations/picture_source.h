// Where the bytes of a stored image's picture come from.
#ifndef IMAGESEARCH_SERVER_OPERATIONS_PICTURE_SOURCE_H_
#define IMAGESEARCH_SERVER_OPERATIONS_PICTURE_SOURCE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "index/collection.h"

namespace imagesearch::server {

struct Picture {
  index::Record record;  // as of the moment when it was read; without its vector
  std::string bytes;     // empty: no original is kept and no file is of this picture
  bool is_kept = false;  // an original of the collection's own
};

// Thread-safe.
class PictureSource {
 public:
  // `folder` empty: kept originals alone. Larger pictures than `max_bytes` count as not there.
  PictureSource(std::string folder, uint64_t max_bytes)
      : folder_(std::move(folder)), max_bytes_(max_bytes) {}

  // The kept original; else the file below the folder that the image's source_uri, its metadata
  // `path` or its id names, the first whose SHA-256 is the image's content hash. Nullopt: no such
  // image (any more).
  absl::StatusOr<std::optional<Picture>> Read(index::Collection& collection,
                                              const std::string& id) const;

 private:
  std::string ReadFile(const std::string& path, const std::string& content_hash) const;

  const std::string folder_;
  const uint64_t max_bytes_;
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_OPERATIONS_PICTURE_SOURCE_H_
