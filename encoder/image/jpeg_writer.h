// Writing JPEG, over libjpeg-turbo.
#ifndef IMAGESEARCH_ENCODER_IMAGE_JPEG_WRITER_H_
#define IMAGESEARCH_ENCODER_IMAGE_JPEG_WRITER_H_

#include <string>

#include "encoder/image/image.h"

namespace imagesearch::encoder {

// Baseline JPEG with 4:2:0 chroma; quality 1 to 100. Empty when libjpeg refuses: a side of 0 or
// beyond 65,500. Thread-safe.
std::string WriteJpeg(const RgbImage& pixels, int quality);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_IMAGE_JPEG_WRITER_H_
