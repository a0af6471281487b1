// AVX-512 kernels, with and without the VNNI dot-product instruction (simd.h holds their
// contracts).
#include "index/ann/simd_variants.h"

#if defined(__x86_64__)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12's own avx512 headers
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>

namespace imagesearch::index {
namespace {

#define IMAGESEARCH_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define IMAGESEARCH_VNNI \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma")))

constexpr size_t kReadAhead = 8;  // rows fetched ahead of a gather

IMAGESEARCH_AVX512 float DotF32(const float* a, const float* b, size_t d) {
  __m512 s0 = _mm512_setzero_ps(), s1 = s0, s2 = s0, s3 = s0;
  size_t i = 0;
  for (; i + 64 <= d; i += 64) {
    s0 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i), _mm512_loadu_ps(b + i), s0);
    s1 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 16), _mm512_loadu_ps(b + i + 16), s1);
    s2 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 32), _mm512_loadu_ps(b + i + 32), s2);
    s3 = _mm512_fmadd_ps(_mm512_loadu_ps(a + i + 48), _mm512_loadu_ps(b + i + 48), s3);
  }
  for (; i < d; i += 16) {
    const __mmask16 in = d - i >= 16 ? 0xffff : static_cast<__mmask16>((1u << (d - i)) - 1);
    s0 = _mm512_fmadd_ps(_mm512_maskz_loadu_ps(in, a + i), _mm512_maskz_loadu_ps(in, b + i), s0);
  }
  return _mm512_reduce_add_ps(_mm512_add_ps(_mm512_add_ps(s0, s1), _mm512_add_ps(s2, s3)));
}

// Lane sums of four registers at once: [sum a, sum b, sum c, sum d].
IMAGESEARCH_AVX512 inline __m128i Sum4(__m512i a, __m512i b, __m512i c, __m512i d) {
  const __m512i ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
  const __m512i cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
  const __m512i v = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  const __m256i w = _mm256_add_epi32(_mm512_castsi512_si256(v), _mm512_extracti64x4_epi64(v, 1));
  return _mm_add_epi32(_mm256_castsi256_si128(w), _mm256_extracti128_si256(w, 1));
}

IMAGESEARCH_AVX512 inline void Fetch(const uint8_t* row, size_t stride) {
  for (size_t i = 0; i < stride; i += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(row + i), _MM_HINT_T0);
  }
}

IMAGESEARCH_AVX512 inline __mmask16 First(size_t n) {
  return n >= 16 ? 0xffff : static_cast<__mmask16>((1u << n) - 1);
}

IMAGESEARCH_AVX512 inline __m512 Difference(const float* x, const float* m, __mmask16 in) {
  return _mm512_sub_ps(_mm512_maskz_loadu_ps(in, x), _mm512_maskz_loadu_ps(in, m));
}

IMAGESEARCH_AVX512 float Largest(const float* x, const float* m, size_t d) {
  __m512 largest = _mm512_setzero_ps();
  for (size_t i = 0; i < d; i += 16) {
    const __m512 size = _mm512_abs_ps(Difference(x + i, m + i, First(d - i)));
    largest = _mm512_max_ps(size, largest);  // of a NaN and a number: the second
  }
  return _mm512_reduce_max_ps(largest);
}

IMAGESEARCH_AVX512 CodeSums Encode(const float* x, const float* m, size_t d, float scale,
                                   float inverse, uint8_t* code) {
  const __m512 inv = _mm512_set1_ps(inverse), most = _mm512_set1_ps(127),
               least = _mm512_set1_ps(-127);
  const __m512d unit = _mm512_set1_pd(scale);
  __m512d error2 = _mm512_setzero_pd(), norm2 = error2;
  for (size_t i = 0; i < d; i += 16) {
    const __mmask16 in = First(d - i);
    const __m512 value = Difference(x + i, m + i, in);
    const __m512 wanted = _mm512_mul_ps(value, inv);
    const __mmask16 number = _mm512_cmp_ps_mask(wanted, wanted, _CMP_ORD_Q);
    const __m512i c = _mm512_cvtps_epi32(
        _mm512_min_ps(_mm512_max_ps(_mm512_maskz_mov_ps(number, wanted), least), most));
    _mm512_mask_cvtepi32_storeu_epi8(code + i, in, _mm512_add_epi32(c, _mm512_set1_epi32(128)));
    const __m512d low = _mm512_mul_pd(unit, _mm512_cvtepi32_pd(_mm512_castsi512_si256(c)));
    const __m512d high = _mm512_mul_pd(unit, _mm512_cvtepi32_pd(_mm512_extracti64x4_epi64(c, 1)));
    norm2 = _mm512_fmadd_pd(low, low, _mm512_fmadd_pd(high, high, norm2));
    const __m512d low_miss = _mm512_sub_pd(_mm512_cvtps_pd(_mm512_castps512_ps256(value)), low);
    const __m512d high_miss =
        _mm512_sub_pd(_mm512_cvtps_pd(_mm512_extractf32x8_ps(value, 1)), high);
    error2 = _mm512_fmadd_pd(low_miss, low_miss, _mm512_fmadd_pd(high_miss, high_miss, error2));
  }
  return {_mm512_reduce_add_pd(error2), _mm512_reduce_add_pd(norm2)};
}

IMAGESEARCH_AVX512 size_t Select(const int32_t* dots, const float* scales, size_t n, int32_t offset,
                                 float query_scale, float slack, float threshold,
                                 uint32_t* selected) {
  const __m512i off = _mm512_set1_epi32(offset);
  const __m512 qs = _mm512_set1_ps(query_scale), sl = _mm512_set1_ps(slack),
               th = _mm512_set1_ps(threshold);
  size_t count = 0;
  for (size_t i = 0; i < n; i += 16) {
    const __mmask16 in = n - i >= 16 ? 0xffff : static_cast<__mmask16>((1u << (n - i)) - 1);
    const __m512i dot = _mm512_maskz_loadu_epi32(in, dots + i);
    const __m512 value =
        _mm512_mul_ps(_mm512_maskz_loadu_ps(in, scales + i),
                      _mm512_fmadd_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(dot, off)), qs, sl));
    unsigned mask = _mm512_mask_cmp_ps_mask(in, value, th, _CMP_GE_OQ);
    for (; mask != 0; mask &= mask - 1) {
      selected[count++] = static_cast<uint32_t>(i) + static_cast<uint32_t>(__builtin_ctz(mask));
    }
  }
  return count;
}

// The 8-bit kernels exist twice, with a different inner step; a macro makes both, since a target
// attribute can't be a template parameter.
//
// Without VNNI both sides widen to 16 bits (vpmaddubsw would saturate).
IMAGESEARCH_AVX512 inline __m512i StepBw(__m512i sum, __m512i code, __m512i query) {
  const __m512i low = _mm512_madd_epi16(_mm512_cvtepu8_epi16(_mm512_castsi512_si256(code)),
                                        _mm512_cvtepi8_epi16(_mm512_castsi512_si256(query)));
  const __m512i high = _mm512_madd_epi16(_mm512_cvtepu8_epi16(_mm512_extracti64x4_epi64(code, 1)),
                                         _mm512_cvtepi8_epi16(_mm512_extracti64x4_epi64(query, 1)));
  return _mm512_add_epi32(sum, _mm512_add_epi32(low, high));
}

IMAGESEARCH_VNNI inline __m512i StepVnni(__m512i sum, __m512i code, __m512i query) {
  return _mm512_dpbusd_epi32(sum, code, query);
}

#define IMAGESEARCH_CODE_KERNELS(TARGET, STEP, NAME)                                               \
  TARGET inline void Dot4##NAME(const uint8_t* r0, const uint8_t* r1, const uint8_t* r2,           \
                                const uint8_t* r3, size_t stride, const int8_t* query,             \
                                int32_t* out) {                                                    \
    __m512i s0 = _mm512_setzero_si512(), s1 = s0, s2 = s0, s3 = s0;                                \
    for (size_t i = 0; i < stride; i += 64) {                                                      \
      const __m512i q = _mm512_loadu_si512(query + i);                                             \
      s0 = STEP(s0, _mm512_loadu_si512(r0 + i), q);                                                \
      s1 = STEP(s1, _mm512_loadu_si512(r1 + i), q);                                                \
      s2 = STEP(s2, _mm512_loadu_si512(r2 + i), q);                                                \
      s3 = STEP(s3, _mm512_loadu_si512(r3 + i), q);                                                \
    }                                                                                              \
    _mm_storeu_si128(reinterpret_cast<__m128i*>(out), Sum4(s0, s1, s2, s3));                       \
  }                                                                                                \
  TARGET inline int32_t Dot1##NAME(const uint8_t* row, size_t stride, const int8_t* query) {       \
    __m512i s = _mm512_setzero_si512();                                                            \
    for (size_t i = 0; i < stride; i += 64) {                                                      \
      s = STEP(s, _mm512_loadu_si512(row + i), _mm512_loadu_si512(query + i));                     \
    }                                                                                              \
    return _mm512_reduce_add_epi32(s);                                                             \
  }                                                                                                \
  TARGET void DotRows##NAME(const uint8_t* codes, size_t stride, size_t n, const int8_t* query,    \
                            int32_t* out) {                                                        \
    const size_t ahead = kFetchAheadBytes / stride;                                                \
    size_t i = 0;                                                                                  \
    for (; i + 4 <= n; i += 4) {                                                                   \
      const uint8_t* r = codes + i * stride;                                                       \
      if (i + 4 + ahead <= n) Fetch(r + ahead * stride, 4 * stride);                               \
      Dot4##NAME(r, r + stride, r + 2 * stride, r + 3 * stride, stride, query, out + i);           \
    }                                                                                              \
    for (; i < n; ++i) out[i] = Dot1##NAME(codes + i * stride, stride, query);                     \
  }                                                                                                \
  TARGET void DotGather##NAME(const uint8_t* codes, size_t stride, const uint32_t* positions,      \
                              size_t n, const int8_t* query, int32_t* out) {                       \
    for (size_t i = 0; i < n && i < kReadAhead; ++i) Fetch(codes + positions[i] * stride, stride); \
    size_t i = 0;                                                                                  \
    for (; i + 4 <= n; i += 4) {                                                                   \
      for (size_t j = i + kReadAhead; j < n && j < i + 4 + kReadAhead; ++j) {                      \
        Fetch(codes + positions[j] * stride, stride);                                              \
      }                                                                                            \
      Dot4##NAME(codes + positions[i] * stride, codes + positions[i + 1] * stride,                 \
                 codes + positions[i + 2] * stride, codes + positions[i + 3] * stride, stride,     \
                 query, out + i);                                                                  \
    }                                                                                              \
    for (; i < n; ++i) out[i] = Dot1##NAME(codes + positions[i] * stride, stride, query);          \
  }                                                                                                \
  TARGET inline void Tile4x4##NAME(const uint8_t* rows, size_t stride, const int8_t* queries,      \
                                   int32_t* out, size_t out_stride) {                              \
    __m512i s[4][4];                                                                               \
    for (auto& line : s) {                                                                         \
      for (auto& sum : line) sum = _mm512_setzero_si512();                                         \
    }                                                                                              \
    for (size_t i = 0; i < stride; i += 64) {                                                      \
      const __m512i r0 = _mm512_loadu_si512(rows + i);                                             \
      const __m512i r1 = _mm512_loadu_si512(rows + stride + i);                                    \
      const __m512i r2 = _mm512_loadu_si512(rows + 2 * stride + i);                                \
      const __m512i r3 = _mm512_loadu_si512(rows + 3 * stride + i);                                \
      for (size_t q = 0; q < 4; ++q) {                                                             \
        const __m512i v = _mm512_loadu_si512(queries + q * stride + i);                            \
        s[q][0] = STEP(s[q][0], r0, v);                                                            \
        s[q][1] = STEP(s[q][1], r1, v);                                                            \
        s[q][2] = STEP(s[q][2], r2, v);                                                            \
        s[q][3] = STEP(s[q][3], r3, v);                                                            \
      }                                                                                            \
    }                                                                                              \
    for (size_t q = 0; q < 4; ++q) {                                                               \
      _mm_storeu_si128(reinterpret_cast<__m128i*>(out + q * out_stride),                           \
                       Sum4(s[q][0], s[q][1], s[q][2], s[q][3]));                                  \
    }                                                                                              \
  }                                                                                                \
  TARGET void DotTile##NAME(const uint8_t* codes, size_t stride, size_t n, const int8_t* queries,  \
                            size_t nq, int32_t* out, size_t out_stride) {                          \
    const size_t ahead = kFetchAheadBytes / stride;                                                \
    size_t i = 0;                                                                                  \
    for (; i + 4 <= n; i += 4) {                                                                   \
      size_t q = 0;                                                                                \
      if (i + 4 + ahead <= n) Fetch(codes + (i + ahead) * stride, 4 * stride);                     \
      for (; q + 4 <= nq; q += 4) {                                                                \
        Tile4x4##NAME(codes + i * stride, stride, queries + q * stride, out + q * out_stride + i,  \
                      out_stride);                                                                 \
      }                                                                                            \
      for (; q < nq; ++q) {                                                                        \
        DotRows##NAME(codes + i * stride, stride, 4, queries + q * stride,                         \
                      out + q * out_stride + i);                                                   \
      }                                                                                            \
    }                                                                                              \
    for (size_t q = 0; q < nq && i < n; ++q) {                                                     \
      DotRows##NAME(codes + i * stride, stride, n - i, queries + q * stride,                       \
                    out + q * out_stride + i);                                                     \
    }                                                                                              \
  }

IMAGESEARCH_CODE_KERNELS(IMAGESEARCH_AVX512, StepBw, Bw)
IMAGESEARCH_CODE_KERNELS(IMAGESEARCH_VNNI, StepVnni, Vnni)

}  // namespace

const SimdKernels& Avx512Kernels() {
  static constexpr SimdKernels kKernels = {
      SimdLevel::kAvx512, "avx512", DotF32, DotRowsBw, DotGatherBw,
      DotTileBw,          Largest,  Encode, Select};
  return kKernels;
}

const SimdKernels& Avx512VnniKernels() {
  static constexpr SimdKernels kKernels = {SimdLevel::kAvx512Vnni,
                                           "avx512-vnni",
                                           DotF32,
                                           DotRowsVnni,
                                           DotGatherVnni,
                                           DotTileVnni,
                                           Largest,
                                           Encode,
                                           Select};
  return kKernels;
}

}  // namespace imagesearch::index
#endif  // __x86_64__
