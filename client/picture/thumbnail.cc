// See thumbnail.h.
#include "client/picture/thumbnail.h"

#include "client/picture/decode.h"
#include "client/picture/jpeg.h"

namespace imagesearch::client {

absl::StatusOr<std::string> Thumbnail(absl::string_view bytes, int side) {
  constexpr int kQuality = 82;
  auto pixels = DecodePicture(bytes, side);
  if (!pixels.ok()) return pixels.status();
  return WriteJpeg(*pixels, kQuality);
}

}  // namespace imagesearch::client
