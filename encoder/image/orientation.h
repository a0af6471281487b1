// Which way up an image is: the orientation tag of EXIF or XMP, and turning pixels by it.
#ifndef IMAGESEARCH_ENCODER_IMAGE_ORIENTATION_H_
#define IMAGESEARCH_ENCODER_IMAGE_ORIENTATION_H_

#include "absl/strings/string_view.h"
#include "encoder/image/image.h"

namespace imagesearch::encoder {

// The orientation, 1 to 8, that Pillow's exif_transpose applies: that of the EXIF block (TIFF
// bytes, with or without "Exif\0\0" before them), else that of the XMP packet, else 1. Either may
// be empty; what is broken counts as absent.
int Orientation(absl::string_view exif, absl::string_view xmp);

// The upright image.
RgbImage TurnUpright(RgbImage image, int orientation);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_IMAGE_ORIENTATION_H_
