// Weighted sums of 8-bit pixels in 32-bit integers.
#include "encoder/image/resize_kernels.h"

#include <algorithm>

// GCC compiles such a function once for each target and picks at load time.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
#define IMAGESEARCH_MULTI_TARGET __attribute__((target_clones("avx2", "default")))
#else
#define IMAGESEARCH_MULTI_TARGET
#endif

namespace imagesearch::encoder {
namespace {

inline uint8_t Clip(int32_t sum) {
  return static_cast<uint8_t>(std::clamp(sum >> kResizeBits, 0, 255));
}

constexpr int32_t kHalf = 1 << (kResizeBits - 1);

// out[i] = weighted sum over `length` rows of column i.
IMAGESEARCH_MULTI_TARGET
void SumRows(const uint8_t* __restrict rows, size_t stride, const int32_t* __restrict weights,
             int length, int count, int32_t* __restrict sums, uint8_t* __restrict out) {
  for (int i = 0; i < count; ++i) sums[i] = kHalf;
  for (int k = 0; k < length; ++k) {
    const uint8_t* __restrict row = rows + stride * k;
    const int32_t weight = weights[k];
    for (int i = 0; i < count; ++i) sums[i] += row[i] * weight;
  }
  for (int i = 0; i < count; ++i) {
    const int32_t value = sums[i] >> kResizeBits;
    out[i] = static_cast<uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
  }
}

}  // namespace

void ResizeRows(const RgbView& source, const ResizeTaps& taps, RgbImage& result) {
  for (int y = 0; y < result.height; ++y) {
    const uint8_t* row = source.row(y);
    uint8_t* out = result.row(y);
    for (int x = 0; x < result.width; ++x, out += 3) {
      const uint8_t* pixel = row + size_t{3} * taps.start[x];
      const int32_t* weight = &taps.weights[static_cast<size_t>(x) * taps.stride];
      int32_t red = kHalf, green = kHalf, blue = kHalf;
      for (int k = 0; k < taps.length[x]; ++k, pixel += 3) {
        red += pixel[0] * weight[k];
        green += pixel[1] * weight[k];
        blue += pixel[2] * weight[k];
      }
      out[0] = Clip(red);
      out[1] = Clip(green);
      out[2] = Clip(blue);
    }
  }
}

void ResizeColumns(const RgbView& source, const ResizeTaps& taps, RgbImage& result) {
  const int count = result.width * 3;
  std::vector<int32_t> sums(count);
  for (int y = 0; y < result.height; ++y) {
    SumRows(source.row(taps.start[y]), source.stride,
            &taps.weights[static_cast<size_t>(y) * taps.stride], taps.length[y], count, sums.data(),
            result.row(y));
  }
}

}  // namespace imagesearch::encoder
