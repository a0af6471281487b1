// AVX2 + FMA kernels (simd.h holds their contracts).
#include "index/ann/simd_variants.h"

#if defined(__x86_64__)
#include <immintrin.h>

namespace imagesearch::index {
namespace {

#define IMAGESEARCH_AVX2 __attribute__((target("avx2,fma")))

constexpr size_t kReadAhead = 4;  // rows fetched ahead of a gather

IMAGESEARCH_AVX2 inline float Sum(__m256 v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

IMAGESEARCH_AVX2 inline int32_t Sum(__m256i v) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4e));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xb1)));
}

IMAGESEARCH_AVX2 float DotF32(const float* a, const float* b, size_t d) {
  __m256 s0 = _mm256_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
  size_t i = 0;
  for (; i + 32 <= d; i += 32) {
    s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s0);
    s1 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 8), _mm256_loadu_ps(b + i + 8), s1);
    s2 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 16), _mm256_loadu_ps(b + i + 16), s2);
    s3 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i + 24), _mm256_loadu_ps(b + i + 24), s3);
  }
  for (; i + 8 <= d; i += 8) {
    s0 = _mm256_fmadd_ps(_mm256_loadu_ps(a + i), _mm256_loadu_ps(b + i), s0);
  }
  float sum = Sum(_mm256_add_ps(_mm256_add_ps(s0, s1), _mm256_add_ps(s2, s3)));
  for (; i < d; ++i) sum += a[i] * b[i];
  return sum;
}

// vpmaddubsw would saturate (255 * 127 * 2 > 32767), so both sides widen to 16 bits.
IMAGESEARCH_AVX2 inline __m256i Step(__m256i sum, const uint8_t* code, __m256i query) {
  const __m256i wide =
      _mm256_cvtepu8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(code)));
  return _mm256_add_epi32(sum, _mm256_madd_epi16(wide, query));
}

IMAGESEARCH_AVX2 inline __m256i Query16(const int8_t* query) {
  return _mm256_cvtepi8_epi16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(query)));
}

// Four rows share each widened piece of the query.
IMAGESEARCH_AVX2 inline void Dot4(const uint8_t* r0, const uint8_t* r1, const uint8_t* r2,
                                  const uint8_t* r3, size_t stride, const int8_t* query,
                                  int32_t* out) {
  __m256i s0 = _mm256_setzero_si256(), s1 = s0, s2 = s0, s3 = s0;
  for (size_t i = 0; i < stride; i += 16) {
    const __m256i q = Query16(query + i);
    s0 = Step(s0, r0 + i, q);
    s1 = Step(s1, r1 + i, q);
    s2 = Step(s2, r2 + i, q);
    s3 = Step(s3, r3 + i, q);
  }
  out[0] = Sum(s0);
  out[1] = Sum(s1);
  out[2] = Sum(s2);
  out[3] = Sum(s3);
}

IMAGESEARCH_AVX2 inline int32_t Dot1(const uint8_t* row, size_t stride, const int8_t* query) {
  __m256i s0 = _mm256_setzero_si256(), s1 = s0;
  for (size_t i = 0; i < stride; i += 32) {
    s0 = Step(s0, row + i, Query16(query + i));
    s1 = Step(s1, row + i + 16, Query16(query + i + 16));
  }
  return Sum(_mm256_add_epi32(s0, s1));
}

IMAGESEARCH_AVX2 inline void Fetch(const uint8_t* row, size_t stride) {
  for (size_t i = 0; i < stride; i += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(row + i), _MM_HINT_T0);
  }
}

IMAGESEARCH_AVX2 void DotRows(const uint8_t* codes, size_t stride, size_t n, const int8_t* query,
                              int32_t* out) {
  const size_t ahead = kFetchAheadBytes / stride;
  size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    const uint8_t* r = codes + i * stride;
    if (i + 4 + ahead <= n) Fetch(r + ahead * stride, 4 * stride);
    Dot4(r, r + stride, r + 2 * stride, r + 3 * stride, stride, query, out + i);
  }
  for (; i < n; ++i) out[i] = Dot1(codes + i * stride, stride, query);
}

IMAGESEARCH_AVX2 void DotGather(const uint8_t* codes, size_t stride, const uint32_t* positions,
                                size_t n, const int8_t* query, int32_t* out) {
  for (size_t i = 0; i < n && i < kReadAhead; ++i) Fetch(codes + positions[i] * stride, stride);
  size_t i = 0;
  for (; i + 4 <= n; i += 4) {
    for (size_t j = i + 4; j < n && j < i + 4 + kReadAhead; ++j) {
      Fetch(codes + positions[j] * stride, stride);
    }
    Dot4(codes + positions[i] * stride, codes + positions[i + 1] * stride,
         codes + positions[i + 2] * stride, codes + positions[i + 3] * stride, stride, query,
         out + i);
  }
  for (; i < n; ++i) out[i] = Dot1(codes + positions[i] * stride, stride, query);
}

IMAGESEARCH_AVX2 void DotTile(const uint8_t* codes, size_t stride, size_t n, const int8_t* queries,
                              size_t nq, int32_t* out, size_t out_stride) {
  // 16 rows at a time stay in the first-level cache while all queries pass over them.
  for (size_t i = 0; i < n; i += 16) {
    const size_t rows = n - i < 16 ? n - i : 16;
    for (size_t q = 0; q < nq; ++q) {
      DotRows(codes + i * stride, stride, rows, queries + q * stride, out + q * out_stride + i);
    }
  }
}

IMAGESEARCH_AVX2 float Largest(const float* x, const float* m, size_t d) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  __m256 most = _mm256_setzero_ps();
  size_t i = 0;
  for (; i + 8 <= d; i += 8) {
    const __m256 value = _mm256_sub_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(m + i));
    most = _mm256_max_ps(_mm256_andnot_ps(sign, value), most);  // of a NaN and a number: the second
  }
  float lanes[8], largest = 0;
  _mm256_storeu_ps(lanes, most);
  for (float lane : lanes) largest = lane > largest ? lane : largest;
  for (; i < d; ++i) {
    const float size = __builtin_fabsf(x[i] - m[i]);
    largest = size > largest ? size : largest;
  }
  return largest;
}

IMAGESEARCH_AVX2 inline void AddSquares(__m128 value, __m128i c, __m256d unit, __m256d& error2,
                                        __m256d& norm2) {
  const __m256d coded = _mm256_mul_pd(unit, _mm256_cvtepi32_pd(c));
  const __m256d miss = _mm256_sub_pd(_mm256_cvtps_pd(value), coded);
  error2 = _mm256_fmadd_pd(miss, miss, error2);
  norm2 = _mm256_fmadd_pd(coded, coded, norm2);
}

IMAGESEARCH_AVX2 inline double Sum(__m256d v) {
  const __m128d s = _mm_add_pd(_mm256_castpd256_pd128(v), _mm256_extractf128_pd(v, 1));
  return _mm_cvtsd_f64(_mm_add_sd(s, _mm_unpackhi_pd(s, s)));
}

IMAGESEARCH_AVX2 CodeSums Encode(const float* x, const float* m, size_t d, float scale,
                                 float inverse, uint8_t* code) {
  const __m256 inv = _mm256_set1_ps(inverse), most = _mm256_set1_ps(127),
               least = _mm256_set1_ps(-127);
  const __m256d unit = _mm256_set1_pd(scale);
  __m256d error2 = _mm256_setzero_pd(), norm2 = error2;
  size_t i = 0;
  for (; i + 8 <= d; i += 8) {
    const __m256 value = _mm256_sub_ps(_mm256_loadu_ps(x + i), _mm256_loadu_ps(m + i));
    const __m256 wanted = _mm256_mul_ps(value, inv);
    const __m256 number = _mm256_and_ps(wanted, _mm256_cmp_ps(wanted, wanted, _CMP_ORD_Q));
    const __m256i c = _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(number, least), most));
    const __m128i low = _mm256_castsi256_si128(c), high = _mm256_extracti128_si256(c, 1);
    // To signed bytes, then 128 more.
    const __m128i words = _mm_packs_epi32(low, high);
    _mm_storel_epi64(
        reinterpret_cast<__m128i*>(code + i),
        _mm_xor_si128(_mm_packs_epi16(words, words), _mm_set1_epi8(static_cast<char>(0x80))));
    AddSquares(_mm256_castps256_ps128(value), low, unit, error2, norm2);
    AddSquares(_mm256_extractf128_ps(value, 1), high, unit, error2, norm2);
  }
  CodeSums sums{Sum(error2), Sum(norm2)};
  if (i < d) {
    const CodeSums rest = PortableKernels().encode(x + i, m + i, d - i, scale, inverse, code + i);
    sums.error2 += rest.error2;
    sums.norm2 += rest.norm2;
  }
  return sums;
}

IMAGESEARCH_AVX2 size_t Select(const int32_t* dots, const float* scales, size_t n, int32_t offset,
                               float query_scale, float slack, float threshold,
                               uint32_t* selected) {
  const __m256i off = _mm256_set1_epi32(offset);
  const __m256 qs = _mm256_set1_ps(query_scale), sl = _mm256_set1_ps(slack),
               th = _mm256_set1_ps(threshold);
  size_t count = 0, i = 0;
  for (; i + 8 <= n; i += 8) {
    const __m256i dot = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(dots + i));
    const __m256 value =
        _mm256_mul_ps(_mm256_loadu_ps(scales + i),
                      _mm256_fmadd_ps(_mm256_cvtepi32_ps(_mm256_sub_epi32(dot, off)), qs, sl));
    unsigned mask = static_cast<unsigned>(_mm256_movemask_ps(_mm256_cmp_ps(value, th, _CMP_GE_OQ)));
    for (; mask != 0; mask &= mask - 1) {
      selected[count++] = static_cast<uint32_t>(i) + static_cast<uint32_t>(__builtin_ctz(mask));
    }
  }
  for (; i < n; ++i) {
    if (scales[i] * (static_cast<float>(dots[i] - offset) * query_scale + slack) >= threshold) {
      selected[count++] = static_cast<uint32_t>(i);
    }
  }
  return count;
}

}  // namespace

const SimdKernels& Avx2Kernels() {
  static constexpr SimdKernels kKernels = {SimdLevel::kAvx2, "avx2",  DotF32, DotRows, DotGather,
                                           DotTile,          Largest, Encode, Select};
  return kKernels;
}

}  // namespace imagesearch::index
#endif  // __x86_64__
