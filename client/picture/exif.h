// What a photograph's EXIF block tells, as metadata.
#ifndef IMAGESEARCH_CLIENT_PICTURE_EXIF_H_
#define IMAGESEARCH_CLIENT_PICTURE_EXIF_H_

#include "absl/strings/string_view.h"
#include "google/protobuf/struct.pb.h"

namespace imagesearch::client {

// Adds `width` and `height` (pixels as stored) of any format, and of a JPEG or HEIC with EXIF:
// `taken`
// ("2024-05-01T17:03:11", the camera's local time), `year`, `camera`, `latitude` and `longitude`
// (degrees, south and west negative). Leaves out what is missing or broken; never fails.
void AddExif(absl::string_view bytes, google::protobuf::Struct* metadata);

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_PICTURE_EXIF_H_
