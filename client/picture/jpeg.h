// Writing JPEG: the encoder room's writer, for the client.
#ifndef IMAGESEARCH_CLIENT_PICTURE_JPEG_H_
#define IMAGESEARCH_CLIENT_PICTURE_JPEG_H_

#include "encoder/image/jpeg_writer.h"

namespace imagesearch::client {

using encoder::WriteJpeg;

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_PICTURE_JPEG_H_
