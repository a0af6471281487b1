// Pillow's integer arithmetic for colours, to the last bit.
#ifndef IMAGESEARCH_ENCODER_IMAGE_PIXEL_MATH_H_
#define IMAGESEARCH_ENCODER_IMAGE_PIXEL_MATH_H_

#include <cstdint>

namespace imagesearch::encoder {

// One channel of alpha_composite over opaque white: 7 extra bits of precision, division by 255
// rounded by shifts.
inline uint8_t OverWhite(uint8_t value, uint8_t alpha) {
  if (alpha == 255) return value;
  if (alpha == 0) return 255;
  constexpr uint32_t kBits = 7;
  const uint32_t weight = uint32_t{alpha} << kBits;
  const uint32_t rest = (255u << kBits) - weight;
  const uint32_t sum = value * weight + 255u * rest + (0x80u << kBits);
  return static_cast<uint8_t>((((sum >> 8) + sum) >> 8) >> kBits);
}

inline void OverWhite(const uint8_t rgba[4], uint8_t rgb[3]) {
  for (int i = 0; i < 3; ++i) rgb[i] = OverWhite(rgba[i], rgba[3]);
}

// a * b / 255, rounded.
inline int MulDiv255(int a, int b) {
  const int product = a * b + 128;
  return ((product >> 8) + product) >> 8;
}

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_IMAGE_PIXEL_MATH_H_
