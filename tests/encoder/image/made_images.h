// Small image files for tests, made by the formats' own libraries or by hand.
#ifndef IMAGESEARCH_TESTS_ENCODER_IMAGE_MADE_IMAGES_H_
#define IMAGESEARCH_TESTS_ENCODER_IMAGE_MADE_IMAGES_H_

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "encoder/image/image.h"

namespace imagesearch::encoder {

// Smooth colours that differ in every corner, so that turning and cropping show.
RgbImage Gradient(int width, int height);

// Big- and little-endian integers as bytes.
std::string Be32Bytes(uint32_t value);
std::string LeBytes(uint32_t value, int size);

struct JpegMaking {
  int quality = 95;
  bool progressive = false;
  // Bodies of APP1 segments.
  std::vector<std::string> app1 = {};
  // Four components instead of three, as Adobe writes them: 255 - C, 255 - M, 255 - Y, 255 - K with
  // K = 0, so that the colours are the image's.
  bool cmyk = false;
};
std::string MakeJpeg(const RgbImage& image, const JpegMaking& making = {});

// An EXIF block with that orientation: an APP1 body, or with `tiff_only` a PNG eXIf body.
std::string Exif(int orientation, bool tiff_only = false);

// A PNG of 8-bit RGB, or RGBA with one alpha for all, with more chunks (name, body) before the
// pixels.
std::string MakePng(const RgbImage& image, int alpha = -1,
                    const std::vector<std::pair<std::string, std::string>>& chunks = {});
std::string PngChunk(const std::string& name, const std::string& body);

std::string MakeWebp(const RgbImage& image);  // lossless

// A GIF whose frame of 4-colour indices lies at (left, top) on the canvas. Colour i is the grey
// 60 * i + 10; `transparent` < 0: none.
std::string MakeGif(int canvas_width, int canvas_height, int left, int top, int width, int height,
                    const std::vector<uint8_t>& indices, int transparent = -1);

// A bottom-up BMP of 24 bits.
std::string MakeBmp(const RgbImage& image);
// A BMP of `bits` a pixel around ready pixel bytes.
std::string MakeBmp(int width, int height, int bits, int compression, const std::string& palette,
                    const std::string& pixels);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_TESTS_ENCODER_IMAGE_MADE_IMAGES_H_
