// Vector arithmetic of the index, in one variant for each instruction set and chosen at run time by
// what the CPU has. Nothing here is compiled with -march: variants carry target attributes.
#ifndef IMAGESEARCH_INDEX_ANN_SIMD_H_
#define IMAGESEARCH_INDEX_ANN_SIMD_H_

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace imagesearch::index {

// Ordered: a level includes those before it. kPortable is plain C++ (the only one on aarch64).
enum class SimdLevel { kPortable = 0, kAvx2 = 1, kAvx512 = 2, kAvx512Vnni = 3 };

// Rows of 8-bit codes are `stride` bytes apart, a multiple of kCodeAlignment; codes are unsigned
// (value + 128), queries signed, so that x86's u8 x s8 instructions apply. Padding bytes of a query
// are 0. Integer results are the same at every level; float32 sums differ in rounding only.
inline constexpr size_t kCodeAlignment = 64;

// With c = scale * (code - 128): sums of (x - m - c)^2 and of c^2.
struct CodeSums {
  double error2 = 0, norm2 = 0;
};

struct SimdKernels {
  SimdLevel level;
  const char* name;

  // Sum of a[i] * b[i] over `d` values. No alignment needed.
  float (*dot_f32)(const float* a, const float* b, size_t d);

  // out[i] = row i . query, over `n` rows that follow one another. Fetches ahead within them only:
  // see FetchStart.
  void (*dot_rows)(const uint8_t* codes, size_t stride, size_t n, const int8_t* query,
                   int32_t* out);

  // The same for the rows at `positions`, read ahead of their use.
  void (*dot_gather)(const uint8_t* codes, size_t stride, const uint32_t* positions, size_t n,
                     const int8_t* query, int32_t* out);

  // out[q * out_stride + i] = row i . query q; queries are `stride` bytes apart.
  void (*dot_tile)(const uint8_t* codes, size_t stride, size_t n, const int8_t* queries, size_t nq,
                   int32_t* out, size_t out_stride);

  // The largest |x[i] - m[i]| of `d` values; a NaN counts nothing.
  float (*largest)(const float* x, const float* m, size_t d);

  // code[i] = 128 + (x[i] - m[i]) * inverse, rounded to the nearest (ties to even) and kept within
  // 1 to 255; a NaN gives 128. The same at every level.
  CodeSums (*encode)(const float* x, const float* m, size_t d, float scale, float inverse,
                     uint8_t* code);

  // The i in [0, n) with scales[i] * ((dots[i] - offset) * query_scale + slack) >= threshold, in
  // order; returns how many. `selected` has room for n.
  size_t (*select)(const int32_t* dots, const float* scales, size_t n, int32_t offset,
                   float query_scale, float slack, float threshold, uint32_t* selected);
};

// The kernels in force: the best level of this CPU, unless another is forced. Thread-safe.
const SimdKernels& Simd();

// Levels this CPU can run, lowest first.
std::vector<SimdLevel> AvailableSimdLevels();

// Starts to fetch the first rows of `n`, for the call after the one that comes next.
inline void FetchStart(const uint8_t* codes, size_t stride, size_t n) {
  constexpr size_t kBytes = 8192;
  const size_t bytes = n * stride < kBytes ? n * stride : kBytes;
  for (size_t i = 0; i < bytes; i += 64) __builtin_prefetch(codes + i);
}

// For tests and for comparing levels: every later Simd() returns this level; nullopt: the best
// again. false when the CPU does not have it (nothing changes). Callers that run at the same time
// may use either.
bool ForceSimdLevel(std::optional<SimdLevel> level);

// Limits the level by what people call it: "auto" (all the CPU has), "avx512" (with VNNI where the
// CPU has it), "avx2", "baseline". FAILED_PRECONDITION NO_SIMD when the CPU lacks it.
absl::Status LimitSimd(absl::string_view name);

// Name of the level in force, for GetServerInfo: "portable", "avx2", "avx512", "avx512-vnni".
const char* SimdLevelName();

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_SIMD_H_
