// Decoded images in memory.
#ifndef IMAGESEARCH_ENCODER_IMAGE_IMAGE_H_
#define IMAGESEARCH_ENCODER_IMAGE_IMAGE_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace imagesearch::encoder {

// Somebody else's 8-bit RGB pixels, or a rectangle of them; rows top-down.
struct RgbView {
  const uint8_t* data = nullptr;
  int width = 0, height = 0;
  size_t stride = 0;  // bytes from row to row

  const uint8_t* row(int y) const { return data + stride * static_cast<size_t>(y); }
};

// 8-bit RGB, rows top-down without padding.
struct RgbImage {
  int width = 0, height = 0;
  std::vector<uint8_t> data;  // height * width * 3

  RgbImage() = default;
  RgbImage(int width, int height)
      : width(width), height(height), data(size_t{3} * width * height) {}

  uint8_t* row(int y) { return data.data() + size_t{3} * width * y; }
  RgbView view() const { return {data.data(), width, height, size_t{3} * width}; }
};

// The part [left, left + width) x [top, top + height) of an image.
struct Rect {
  int left = 0, top = 0, width = 0, height = 0;
};

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_IMAGE_IMAGE_H_
