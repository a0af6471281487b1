// A decoded image in memory.
#ifndef IMAGESEARCH_ENCODER_IMAGE_IMAGE_H_
#define IMAGESEARCH_ENCODER_IMAGE_IMAGE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace imagesearch::encoder {

// 8-bit RGB, rows top-down without padding.
struct RgbImage {
  int width = 0, height = 0;
  std::vector<uint8_t> data;  // height * width * 3

  RgbImage() = default;
  RgbImage(int width, int height)
      : width(width), height(height), data(size_t{3} * width * height) {}

  const uint8_t* row(int y) const { return data.data() + size_t{3} * width * y; }
  uint8_t* row(int y) { return data.data() + size_t{3} * width * y; }
};

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_IMAGE_IMAGE_H_
