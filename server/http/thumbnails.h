// Small JPEGs of stored pictures, made on demand and remembered.
#ifndef IMAGESEARCH_SERVER_HTTP_THUMBNAILS_H_
#define IMAGESEARCH_SERVER_HTTP_THUMBNAILS_H_

#include <cstddef>
#include <list>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/limits.h"
#include "base/mutex.h"

namespace imagesearch::server {

// Thread-safe. Keeps the bytes of the most recently used within `max_bytes`, and decodes at most
// two pictures at a time: what a decode may take is bounded by ImageLimits alone.
class Thumbnails {
 public:
  Thumbnails(const ImageLimits& limits, size_t max_bytes)
      : limits_(limits), max_bytes_(max_bytes) {}

  // The one with a long side of `side` pixels of the picture with this content hash; null when it
  // isn't remembered.
  std::shared_ptr<const std::string> Find(const std::string& content_hash, int side);
  // Makes and remembers it. Errors of the decoders, for a picture that is damaged.
  absl::StatusOr<std::shared_ptr<const std::string>> Make(const std::string& content_hash, int side,
                                                          absl::string_view picture);

 private:
  struct Entry {
    std::string key;
    std::shared_ptr<const std::string> jpeg;
  };

  const ImageLimits limits_;
  const size_t max_bytes_;

  Mutex mutex_;
  CondVar changed_;
  int decoding_ ABSL_GUARDED_BY(mutex_) = 0;
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::list<Entry> entries_ ABSL_GUARDED_BY(mutex_);  // the most recent first
  absl::flat_hash_map<std::string, std::list<Entry>::iterator> by_key_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HTTP_THUMBNAILS_H_
