// The two inner loops of resizing, in the best variant that the processor runs.
#ifndef IMAGESEARCH_ENCODER_IMAGE_RESIZE_KERNELS_H_
#define IMAGESEARCH_ENCODER_IMAGE_RESIZE_KERNELS_H_

#include <cstdint>
#include <vector>

#include "encoder/image/image.h"

namespace imagesearch::encoder {

// Weights are integers in units of 2^-22; a sum of 8-bit pixels times weights fits 32 bits.
inline constexpr int kResizeBits = 22;

// Output i is the sum over k < length[i] of weights[i * stride + k] times pixel start[i] + k.
struct ResizeTaps {
  int stride = 0;
  std::vector<int> start, length;
  std::vector<int32_t> weights;  // zero behind length[i]
};

// Resizes each row of `source` to result.width pixels; both have the same height. `taps` has
// result.width outputs.
void ResizeRows(const RgbView& source, const ResizeTaps& taps, RgbImage& result);

// Resizes the columns of `source` to result.height pixels; both have the same width.
void ResizeColumns(const RgbView& source, const ResizeTaps& taps, RgbImage& result);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_IMAGE_RESIZE_KERNELS_H_
