// The chunks of a PNG file around its pixels: checked as Pillow checks them, and what they say
// about palette, transparency and orientation.
#ifndef IMAGESEARCH_ENCODER_IMAGE_PNG_CHUNKS_H_
#define IMAGESEARCH_ENCODER_IMAGE_PNG_CHUNKS_H_

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace imagesearch::encoder {

struct PngChunks {
  uint32_t width = 0, height = 0;
  int depth = 0, color_type = 0;
  // Bodies, pointing into the file; empty when there is no such chunk.
  absl::string_view palette, transparency;
  std::string exif, xmp;
};

// Walks all chunks. Those before the pixels must have the right checksum and length; after the
// pixels a missing end is tolerated, a cut chunk is not. Checksums of the pixel chunks are left to
// the one inside their zlib stream. Errors are INVALID_ARGUMENT: CORRUPT_IMAGE, or IMAGE_TOO_LARGE
// for a text chunk of more than 1 MiB or texts of more than 64 MiB in all.
absl::StatusOr<PngChunks> ReadPngChunks(absl::string_view bytes);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_IMAGE_PNG_CHUNKS_H_
