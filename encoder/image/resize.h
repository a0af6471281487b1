// Pillow's antialiased resize of 8-bit RGB images, byte for byte.
#ifndef IMAGESEARCH_ENCODER_IMAGE_RESIZE_H_
#define IMAGESEARCH_ENCODER_IMAGE_RESIZE_H_

#include "encoder/image/image.h"

namespace imagesearch::encoder {

// The numbers are Pillow's, as a preprocessor_config.json writes them in "resample".
enum class Resample {
  kNearest = 0,
  kLanczos = 1,
  kBilinear = 2,
  kBicubic = 3,
  kBox = 4,
  kHamming = 5,
};

// The pixels `window` of `source` resized to target_width x target_height; the window lies inside
// the target. Only the window and the source pixels that it needs are touched, so a window of a
// huge target is cheap. Neither image is empty.
RgbImage ResizeWindow(const RgbView& source, int target_width, int target_height, Resample resample,
                      const Rect& window);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_IMAGE_RESIZE_H_
