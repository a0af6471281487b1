// The inner loop: a tile of a few rows times 16 to 64 outputs, held in registers.
#ifndef IMAGESEARCH_ENCODER_CLIP_KERNELS_TILE_H_
#define IMAGESEARCH_ENCODER_CLIP_KERNELS_TILE_H_

#include <immintrin.h>

#include <cstdint>

#include "encoder/clip/kernels/gemm.h"

namespace imagesearch::encoder::kernels {
namespace {

// Each: one step of a dot product, 16 outputs at a time.
struct Fp32Dot {
  using Sum = __m512;
  static Sum Zero() { return _mm512_setzero_ps(); }
  static Sum Step(Sum sum, __m512i a, __m512i b) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
  }
};
struct Bf16Dot {
  using Sum = __m512;
  static Sum Zero() { return _mm512_setzero_ps(); }
  static Sum Step(Sum sum, __m512i a, __m512i b) {
    return _mm512_dpbf16_ps(sum, (__m512bh)a, (__m512bh)b);
  }
};
struct Int8Dot {
  using Sum = __m512i;
  static Sum Zero() { return _mm512_setzero_si512(); }
  // The intrinsic makes GCC 12 store each sum to the stack at each step: half the speed.
  static Sum Step(Sum sum, __m512i a, __m512i b) {
    asm("vpdpbusd %2, %1, %0" : "+v"(sum) : "v"(a), "v"(b));
    return sum;
  }
};

constexpr int kTileRows = 6;  // 6 x 4 sums, 4 weights and 1 activation fill 29 of 32 registers

// sums[r][c] = dot products of rows a + r * a_stride with the outputs of b, whose steps are b_step
// bytes apart. Fetches `ahead` (64 bytes for each step and kAhead) into the L2 cache meanwhile.
template <typename Dot, int kRows, int kColumns, int kAhead>
inline __attribute__((always_inline)) void TileSums(const uint8_t* a, int64_t a_stride,
                                                    const uint8_t* b, int64_t b_step, int64_t steps,
                                                    const uint8_t* ahead,
                                                    typename Dot::Sum (&sums)[kRows][kColumns]) {
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) sums[r][c] = Dot::Zero();
  }
  for (int64_t step = 0; step < steps; ++step) {
    __m512i weights[kColumns];
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c) weights[c] = _mm512_loadu_si512(b + 64 * c);
    b += b_step;
#pragma GCC unroll 4
    for (int i = 0; i < kAhead; ++i) _mm_prefetch(ahead + 64 * i, _MM_HINT_T1);
    ahead += 64 * kAhead;
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      int32_t four_bytes;
      __builtin_memcpy(&four_bytes, a + r * a_stride + 4 * step, 4);
      const __m512i activation = _mm512_set1_epi32(four_bytes);
#pragma GCC unroll 4
      for (int c = 0; c < kColumns; ++c) sums[r][c] = Dot::Step(sums[r][c], activation, weights[c]);
    }
  }
}

}  // namespace
}  // namespace imagesearch::encoder::kernels

#endif  // IMAGESEARCH_ENCODER_CLIP_KERNELS_TILE_H_
