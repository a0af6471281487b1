// AVX-512 arithmetic that the kernels share. Include it only in files compiled for AVX-512.
#ifndef IMAGESEARCH_ENCODER_CLIP_KERNELS_VECTOR_MATH_H_
#define IMAGESEARCH_ENCODER_CLIP_KERNELS_VECTOR_MATH_H_

#include <immintrin.h>

#include <cstdint>

#include "encoder/clip/kernels/gemm.h"

namespace imagesearch::encoder::kernels {
namespace {

// The lower `count` lanes, count 0 to 16 (more counts as 16).
inline __mmask16 FirstLanes(int64_t count) {
  return count >= 16 ? __mmask16(0xFFFF) : __mmask16((1u << count) - 1);
}

// e^x, relative error below 2e-7; x is clamped to where the result is a normal number. NaN stays
// NaN (min and max give their second operand then).
inline __m512 Exp(__m512 x) {
  x = _mm512_max_ps(_mm512_set1_ps(-87.0f), _mm512_min_ps(_mm512_set1_ps(88.0f), x));
  // x = n ln 2 + r, |r| <= ln 2 / 2; ln 2 in two parts keeps r exact. e^r by its Taylor series.
  const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, _mm512_set1_ps(1.44269504f)), 0);
  __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), x);
  r = _mm512_fnmadd_ps(n, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 p = _mm512_set1_ps(1.0f / 720);
  constexpr float kSeries[] = {1.0f / 120, 1.0f / 24, 1.0f / 6, 0.5f, 1.0f, 1.0f};
  for (const float c : kSeries) p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(c));
  return _mm512_scalef_ps(p, n);
}

// x / (1 + e^(-1.702 x))
inline __m512 QuickGelu(__m512 x) {
  const __m512 one = _mm512_set1_ps(1.0f);
  return _mm512_div_ps(x, _mm512_add_ps(one, Exp(_mm512_mul_ps(x, _mm512_set1_ps(-1.702f)))));
}

// x (1 + erf(x / sqrt 2)) / 2, erf by Abramowitz and Stegun 7.1.26 (absolute error below 2e-7).
inline __m512 Gelu(__m512 x) {
  const __m512 one = _mm512_set1_ps(1.0f);
  const __m512 z = _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(0.70710678f));
  const __m512 t = _mm512_div_ps(one, _mm512_fmadd_ps(z, _mm512_set1_ps(0.3275911f), one));
  __m512 p = _mm512_set1_ps(1.061405429f);
  constexpr float kSeries[] = {-1.453152027f, 1.421413741f, -0.284496736f, 0.254829592f};
  for (const float c : kSeries) p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(c));
  p = _mm512_mul_ps(_mm512_mul_ps(p, t),
                    Exp(_mm512_mul_ps(z, _mm512_sub_ps(_mm512_setzero_ps(), z))));
  // p = erfc(z); for x < 0 the result is x erfc(z) / 2, else x - x erfc(z) / 2.
  const __m512 half = _mm512_mul_ps(_mm512_mul_ps(x, p), _mm512_set1_ps(0.5f));
  const __mmask16 negative = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
  return _mm512_mask_mov_ps(_mm512_sub_ps(x, half), negative, half);
}

inline __m512 Apply(Function function, __m512 x) {
  switch (function) {
    case Function::kNone:
      break;
    case Function::kQuickGelu:
      return QuickGelu(x);
    case Function::kGelu:
      return Gelu(x);
    case Function::kRelu6:
      return _mm512_min_ps(_mm512_set1_ps(6.0f), _mm512_max_ps(_mm512_setzero_ps(), x));
  }
  return x;
}

inline __m512 LoadBf16(const uint16_t* from, __mmask16 lanes) {
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, from)), 16));
}

inline void StoreBf16(uint16_t* to, __mmask16 lanes, __m512 x) {
  _mm256_mask_storeu_epi16(to, lanes, (__m256i)_mm512_cvtneps_pbh(x));
}

}  // namespace
}  // namespace imagesearch::encoder::kernels

#endif  // IMAGESEARCH_ENCODER_CLIP_KERNELS_VECTOR_MATH_H_
