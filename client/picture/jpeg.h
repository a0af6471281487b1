// Writing JPEG, over libjpeg-turbo.
#ifndef IMAGESEARCH_CLIENT_PICTURE_JPEG_H_
#define IMAGESEARCH_CLIENT_PICTURE_JPEG_H_

#include <string>

#include "encoder/image/image.h"

namespace imagesearch::client {

// Baseline JPEG with 4:2:0 chroma; quality 1 to 100. Empty when libjpeg refuses: a side of 0 or
// beyond 65,500.
std::string WriteJpeg(const encoder::RgbImage& pixels, int quality);

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_PICTURE_JPEG_H_
