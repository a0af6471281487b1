// The kernels of pq_kernels.h: plain C++, AVX2 and AVX-512 (table look-ups in registers where the
// CPU has VBMI).
#include "index/ann/pq_kernels.h"

#include <algorithm>

#include "index/ann/simd.h"

#if defined(__x86_64__)
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"  // GCC 12's own avx512 headers
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <immintrin.h>
#endif

namespace imagesearch::index {
namespace {

void Table(const float* x, const float* book, size_t width, float* out) {
  std::fill_n(out, kPqEntries, 0.0f);
  for (size_t j = 0; j < width; ++j) {
    const float* line = book + j * kPqEntries;
    for (size_t c = 0; c < kPqEntries; ++c) out[c] += x[j] * line[c];
  }
}

uint32_t Greatest(const float* table, const float* half_norms) {
  uint32_t best = 0;
  float greatest = table[0] - half_norms[0];
  for (uint32_t c = 1; c < kPqEntries; ++c) {
    const float value = table[c] - half_norms[c];
    if (value > greatest) {
      greatest = value;
      best = c;
    }
  }
  return best;
}

uint32_t Nearest(const float* x, const float* book, const float* half_norms, size_t width) {
  float table[kPqEntries];
  Table(x, book, width, table);
  return Greatest(table, half_norms);
}

uint64_t Scan(const uint8_t* codes, const uint8_t* table, size_t columns, uint16_t threshold,
              uint16_t* sums) {
  std::fill_n(sums, kPqBlock, uint16_t{0});
  for (size_t m = 0; m < columns; ++m) {
    const uint8_t* code = codes + m * kPqBlock;
    const uint8_t* line = table + m * kPqEntries;
    for (size_t i = 0; i < kPqBlock; ++i) {
      sums[i] = static_cast<uint16_t>(sums[i] + line[code[i]]);
    }
  }
  uint64_t reached = 0;
  for (size_t i = 0; i < kPqBlock; ++i) reached |= uint64_t{sums[i] >= threshold} << i;
  return reached;
}

constexpr PqKernels kPortable = {"portable", Table, Nearest, Scan};

#if defined(__x86_64__)
#define IMAGESEARCH_AVX2 __attribute__((target("avx2,fma")))
#define IMAGESEARCH_AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))
#define IMAGESEARCH_VBMI \
  __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512vbmi,avx2,fma")))

IMAGESEARCH_AVX2 void TableAvx2(const float* x, const float* book, size_t width, float* out) {
  constexpr size_t kLanes = 8, kAtOnce = 8;
  for (size_t c = 0; c < kPqEntries; c += kLanes * kAtOnce) {
    __m256 sums[kAtOnce];
    for (__m256& sum : sums) sum = _mm256_setzero_ps();
    for (size_t j = 0; j < width; ++j) {
      const __m256 value = _mm256_broadcast_ss(x + j);
      const float* line = book + j * kPqEntries + c;
      for (size_t i = 0; i < kAtOnce; ++i) {
        sums[i] = _mm256_fmadd_ps(value, _mm256_loadu_ps(line + i * kLanes), sums[i]);
      }
    }
    for (size_t i = 0; i < kAtOnce; ++i) _mm256_storeu_ps(out + c + i * kLanes, sums[i]);
  }
}

IMAGESEARCH_AVX2 uint32_t NearestAvx2(const float* x, const float* book, const float* half_norms,
                                      size_t width) {
  float table[kPqEntries];
  TableAvx2(x, book, width, table);
  __m256 greatest = _mm256_sub_ps(_mm256_loadu_ps(table), _mm256_loadu_ps(half_norms));
  __m256i at = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7), best = at;
  for (size_t c = 8; c < kPqEntries; c += 8) {
    at = _mm256_add_epi32(at, _mm256_set1_epi32(8));
    const __m256 value = _mm256_sub_ps(_mm256_loadu_ps(table + c), _mm256_loadu_ps(half_norms + c));
    const __m256 more = _mm256_cmp_ps(value, greatest, _CMP_GT_OQ);
    greatest = _mm256_blendv_ps(greatest, value, more);
    best = _mm256_blendv_epi8(best, at, _mm256_castps_si256(more));
  }
  alignas(32) float values[8];
  alignas(32) uint32_t entries[8];
  _mm256_store_ps(values, greatest);
  _mm256_store_si256(reinterpret_cast<__m256i*>(entries), best);
  size_t winner = 0;
  for (size_t i = 1; i < 8; ++i) {
    if (values[i] > values[winner] ||
        (values[i] == values[winner] && entries[i] < entries[winner])) {
      winner = i;
    }
  }
  return entries[winner];
}

constexpr size_t kRegisters = kPqEntries / 16;

IMAGESEARCH_AVX512 inline void Sums(const float* x, const float* book, size_t width, __m512* sums) {
  for (size_t i = 0; i < kRegisters; ++i) sums[i] = _mm512_setzero_ps();
  for (size_t j = 0; j < width; ++j) {
    const __m512 value = _mm512_set1_ps(x[j]);
    const float* line = book + j * kPqEntries;
    for (size_t i = 0; i < kRegisters; ++i) {
      sums[i] = _mm512_fmadd_ps(value, _mm512_loadu_ps(line + 16 * i), sums[i]);
    }
  }
}

IMAGESEARCH_AVX512 void TableAvx512(const float* x, const float* book, size_t width, float* out) {
  __m512 sums[kRegisters];
  Sums(x, book, width, sums);
  for (size_t i = 0; i < kRegisters; ++i) _mm512_storeu_ps(out + 16 * i, sums[i]);
}

IMAGESEARCH_AVX512 uint32_t NearestAvx512(const float* x, const float* book,
                                          const float* half_norms, size_t width) {
  __m512 sums[kRegisters];
  Sums(x, book, width, sums);
  sums[0] = _mm512_sub_ps(sums[0], _mm512_loadu_ps(half_norms));
  __m512 greatest = sums[0];
  for (size_t i = 1; i < kRegisters; ++i) {
    sums[i] = _mm512_sub_ps(sums[i], _mm512_loadu_ps(half_norms + 16 * i));
    greatest = _mm512_max_ps(greatest, sums[i]);
  }
  const __m512 all = _mm512_set1_ps(_mm512_reduce_max_ps(greatest));
  for (size_t i = 0; i < kRegisters; ++i) {
    const unsigned equal = _mm512_cmp_ps_mask(sums[i], all, _CMP_EQ_OQ);
    if (equal != 0)
      return static_cast<uint32_t>(16 * i) + static_cast<uint32_t>(__builtin_ctz(equal));
  }
  return 0;  // no number
}

// A table line is four registers; two look-ups of 128 entries and the code's highest bit choose.
IMAGESEARCH_VBMI uint64_t ScanVbmi(const uint8_t* codes, const uint8_t* table, size_t columns,
                                   uint16_t threshold, uint16_t* sums) {
  const __m512i low_bytes = _mm512_set1_epi16(0xff);
  __m512i even = _mm512_setzero_si512(), odd = even;
  for (size_t m = 0; m < columns; ++m) {
    const __m512i code = _mm512_loadu_si512(codes + m * kPqBlock);
    const uint8_t* line = table + m * kPqEntries;
    const __m512i low =
        _mm512_permutex2var_epi8(_mm512_loadu_si512(line), code, _mm512_loadu_si512(line + 64));
    const __m512i high = _mm512_permutex2var_epi8(_mm512_loadu_si512(line + 128), code,
                                                  _mm512_loadu_si512(line + 192));
    const __m512i value = _mm512_mask_blend_epi8(_mm512_movepi8_mask(code), low, high);
    even = _mm512_add_epi16(even, _mm512_and_si512(value, low_bytes));
    odd = _mm512_add_epi16(odd, _mm512_srli_epi16(value, 8));
  }
  // Rows 8 j to 8 j + 7 of each 128-bit lane j's halves, back in order.
  const __m512i first = _mm512_unpacklo_epi16(even, odd), second = _mm512_unpackhi_epi16(even, odd);
  const __m512i low_order = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
  const __m512i high_order = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
  const __m512i low = _mm512_permutex2var_epi64(first, low_order, second);
  const __m512i high = _mm512_permutex2var_epi64(first, high_order, second);
  _mm512_storeu_si512(sums, low);
  _mm512_storeu_si512(sums + 32, high);
  const __m512i least = _mm512_set1_epi16(static_cast<int16_t>(threshold));
  return uint64_t{_mm512_cmpge_epu16_mask(low, least)} |
         uint64_t{_mm512_cmpge_epu16_mask(high, least)} << 32;
}

constexpr PqKernels kAvx2 = {"avx2", TableAvx2, NearestAvx2, Scan};
constexpr PqKernels kAvx512 = {"avx512", TableAvx512, NearestAvx512, Scan};
constexpr PqKernels kVbmi = {"avx512-vbmi", TableAvx512, NearestAvx512, ScanVbmi};
#endif  // __x86_64__

}  // namespace

const PqKernels& Pq() {
#if defined(__x86_64__)
  switch (Simd().level) {
    case SimdLevel::kAvx2:
      return kAvx2;
    case SimdLevel::kAvx512:
      return kAvx512;
    case SimdLevel::kAvx512Vnni:
      // Some CPUs have VNNI without VBMI.
      return __builtin_cpu_supports("avx512vbmi") ? kVbmi : kAvx512;
    default:
      break;
  }
#endif
  return kPortable;
}

std::vector<const PqKernels*> AvailablePqKernels() {
  std::vector<const PqKernels*> kernels = {&kPortable};
#if defined(__x86_64__)
  const SimdLevel best = AvailableSimdLevels().back();
  if (best >= SimdLevel::kAvx2) kernels.push_back(&kAvx2);
  if (best >= SimdLevel::kAvx512) kernels.push_back(&kAvx512);
  if (best >= SimdLevel::kAvx512Vnni && __builtin_cpu_supports("avx512vbmi")) {
    kernels.push_back(&kVbmi);
  }
#endif
  return kernels;
}

}  // namespace imagesearch::index
