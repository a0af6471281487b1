// Makes a picture fit for the server: photographs beyond its limits are shrunk, HEIC is converted.
#ifndef IMAGESEARCH_CLIENT_PICTURE_PREPARE_H_
#define IMAGESEARCH_CLIENT_PICTURE_PREPARE_H_

#include <cstddef>
#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "imagesearch/v1/admin.pb.h"

namespace imagesearch::client {

// What the server takes. The defaults are its defaults.
struct PictureLimits {
  // Of the encoded file: the message limit less room for id and metadata.
  size_t max_bytes = (8u << 20) - (64u << 10);
  uint64_t max_pixels = 40'000'000;
  uint32_t max_side = 16'384;

  // The limits that a running server tells.
  static PictureLimits Of(const v1::Limits& limits);
};

struct PreparedPicture {
  std::string bytes;
  // Empty when `bytes` are as given; else what was done, for the report: "48.0 Mpx JPEG of 14.2 MB
  // shrunk to 2000x1500".
  std::string note;
};

// Within the limits: the bytes as given, whatever they are; judging them is the server's work.
// Beyond: shrunk to about 2,000 pixels on the long side, far more than a model sees, and written
// upright as JPEG of quality 92. JPEG is decoded at reduced size, so 200 megapixels take little
// memory. INVALID_ARGUMENT: IMAGE_TOO_LARGE where that can't help, CORRUPT_IMAGE,
// UNSUPPORTED_FORMAT. Thread-safe.
absl::StatusOr<PreparedPicture> PreparePicture(std::string bytes, const PictureLimits& limits);

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_PICTURE_PREPARE_H_
