// Small images of every format: where the image fuzzer begins.
#include "tests/encoder/image/made_images.h"
#include "tests/fuzz/seeds.h"

namespace imagesearch::fuzz {

std::vector<std::string> ImageSeeds() {
  using namespace encoder;  // NOLINT: its makers
  const RgbImage image = Gradient(24, 17);
  const std::string palette(16, '\x30');
  return {
      MakeJpeg(image),
      MakeJpeg(image, {.progressive = true}),
      MakeJpeg(image, {.cmyk = true}),
      MakeJpeg(image, {.app1 = {Exif(6)}}),
      MakePng(image),
      MakePng(image, 100),
      MakePng(image, -1, {{"eXIf", Exif(8, true)}, {"tRNS", std::string(6, '\0')}}),
      MakePng(image, -1, {{"acTL", std::string("\0\0\0\x02\0\0\0\0", 8)}}),
      MakePng(image, -1, {{"tEXt", std::string("Raw profile type exif\0\nexif\n  2\nffff", 36)}}),
      MakeWebp(image),
      MakeGif(4, 4, 1, 1, 2, 2, {0, 1, 2, 3}, 2),
      MakeBmp(image),
      MakeBmp(4, 2, 4, 2, palette, std::string("\x04\x12\0\0\0\x04\x12\x30\0\1", 10)),
      MakeBmp(4, 2, 8, 1, palette, std::string("\x04\x01\0\0\0\x02\x01\x01\x02\x02\0\1", 12)),
      MakeBmp(4, 2, 16, 0, "", std::string(16, '\x12')),
      MakeBmp(4, 2, 32, 3, "", std::string(44, '\x34')),
  };
}

}  // namespace imagesearch::fuzz
