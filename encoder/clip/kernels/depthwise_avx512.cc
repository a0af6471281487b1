// Depthwise convolution. Compiled for AVX-512; see gemm.h.
#include "encoder/clip/kernels/gemm.h"
#include "encoder/clip/kernels/vector_math.h"

namespace imagesearch::encoder::kernels {
namespace {

struct Fp32Pixels {
  using Value = float;
  static __m512 Load(const float* from, __mmask16 lanes) {
    return _mm512_maskz_loadu_ps(lanes, from);
  }
  static void Store(float* to, __mmask16 lanes, __m512 x) { _mm512_mask_storeu_ps(to, lanes, x); }
};
struct Bf16Pixels {
  using Value = uint16_t;
  static __m512 Load(const uint16_t* from, __mmask16 lanes) { return LoadBf16(from, lanes); }
  static void Store(uint16_t* to, __mmask16 lanes, __m512 x) { StoreBf16(to, lanes, x); }
};

constexpr int kRun = 4;  // output pixels side by side that share each load of a weight

// `count` (1 or kRun) outputs from (y, x), 16 channels from c; taps outside the image are left out
// for the single pixel, and must not occur for a run.
template <typename Pixels, int kCount>
void Outputs(const Depthwise& d, int64_t y, int64_t x, int64_t c, __mmask16 lanes) {
  using Value = typename Pixels::Value;
  const Value* const input = static_cast<const Value*>(d.input) + c;
  __m512 sums[kCount];
  const __m512 bias = _mm512_maskz_loadu_ps(lanes, d.bias + c);
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i) sums[i] = bias;
  for (int64_t ky = 0; ky < d.kernel; ++ky) {
    const int64_t from_y = y * d.stride - d.before + ky;
    if (from_y < 0 || from_y >= d.side) continue;
    for (int64_t kx = 0; kx < d.kernel; ++kx) {
      const int64_t from_x = x * d.stride - d.before + kx;
      if (kCount == 1 && (from_x < 0 || from_x >= d.side)) continue;
      const __m512 weight =
          _mm512_maskz_loadu_ps(lanes, d.weight + (ky * d.kernel + kx) * d.channels + c);
      const Value* const from = input + (from_y * d.side + from_x) * d.channels;
#pragma GCC unroll 4
      for (int i = 0; i < kCount; ++i) {
        const __m512 pixel = Pixels::Load(from + i * d.stride * d.channels, lanes);
        sums[i] = _mm512_fmadd_ps(pixel, weight, sums[i]);
      }
    }
  }
  Value* const to = static_cast<Value*>(d.output) + (y * d.outputs + x) * d.channels + c;
#pragma GCC unroll 4
  for (int i = 0; i < kCount; ++i)
    Pixels::Store(to + i * d.channels, lanes, Apply(Function::kRelu6, sums[i]));
}

template <typename Pixels>
void Rows(const Depthwise& d, int64_t first, int64_t last) {
  // Outputs [inner, outer) read no pixel outside the row.
  const int64_t inner = (d.before + d.stride - 1) / d.stride;
  const int64_t reach = d.side + d.before - d.kernel;
  const int64_t outer = reach < 0 ? 0 : reach / d.stride + 1;
  for (int64_t y = first; y < last; ++y) {
    for (int64_t c = 0; c < d.channels; c += kLanes) {
      const __mmask16 lanes = FirstLanes(d.channels - c);
      for (int64_t x = 0; x < d.outputs;) {
        if (x >= inner && x + kRun <= outer) {
          Outputs<Pixels, kRun>(d, y, x, c, lanes);
          x += kRun;
        } else {
          Outputs<Pixels, 1>(d, y, x, c, lanes);
          ++x;
        }
      }
    }
  }
}

}  // namespace

void ConvolveDepthwise(const Depthwise& depthwise, int64_t first, int64_t last) {
  if (depthwise.number == Number::kFp32) return Rows<Fp32Pixels>(depthwise, first, last);
  Rows<Bf16Pixels>(depthwise, first, last);
}

}  // namespace imagesearch::encoder::kernels
