// From the bytes of an image file to the square of RGB pixels that an image tower takes, as Pillow
// and transformers' CLIPImageProcessor make it.
#ifndef IMAGESEARCH_ENCODER_IMAGE_PREPROCESS_H_
#define IMAGESEARCH_ENCODER_IMAGE_PREPROCESS_H_

#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/limits.h"
#include "encoder/encoder.h"
#include "encoder/image/resize.h"

namespace imagesearch::encoder {

struct PixelOptions {
  enum class ResizeMode {
    kShortestEdge,  // the shorter side becomes resize_size, the aspect ratio is kept
    kExact,         // both sides become resize_size ("squash")
  };
  ResizeMode resize_mode = ResizeMode::kShortestEdge;
  int resize_size = 224;
  // Side of the square that is cut from the middle of the resized image. Where the resized image is
  // smaller than that, it is padded with black, as transformers' center_crop does.
  int crop_size = 224;
  Resample resample = Resample::kBicubic;
  ImageLimits limits;
  // Let libjpeg decode a large JPEG at 1/2, 1/4 or 1/8 of its size, as long as the decoded short
  // side stays at least three times the resized one. Off: bit-exact with a full decode.
  bool scaled_jpeg_decode = true;
  // This part of the upright image only, as fractions of it.
  std::optional<CropBox> crop;
};

// crop_size^2 * 3 RGB bytes, rows top-down, not normalised: decode, turn upright by EXIF, lay
// transparency over white, cut the crop box, resize, cut the centre. Equal to Pillow's
// exif_transpose, alpha_composite over white, convert("RGB"), crop, resize and transformers' centre
// crop, byte for byte, except that a JPEG's bytes may differ by 1 where the decoders' rounding
// does. ICC profiles are ignored (sRGB is assumed); of an animation the first frame counts. Memory:
// the decoded image (3 or 4 bytes a pixel) plus a few rows. Thread-safe. Errors, all
// INVALID_ARGUMENT: EMPTY_IMAGE, UNSUPPORTED_FORMAT, CORRUPT_IMAGE, IMAGE_TOO_LARGE,
// BAD_CROP_BOX.
//
// `perceptual_hash`, unless null, receives the hash of the whole upright picture
// (encoder/image/perceptual_hash.h), whatever the crop box.
absl::StatusOr<std::vector<uint8_t>> LoadPixels(absl::string_view bytes,
                                                const PixelOptions& options,
                                                std::optional<uint64_t>* perceptual_hash = nullptr);

// The whole picture as a reply can carry it: upright, transparency over white, its long side at
// most `max_side` pixels (never enlarged). `limits` as above. Thread-safe. Errors as above.
absl::StatusOr<RgbImage> LoadThumbnail(absl::string_view bytes, int max_side,
                                       const ImageLimits& limits);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_IMAGE_PREPROCESS_H_
