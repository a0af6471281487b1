// The portable kernels and the choice of a level at run time.
#include "index/ann/simd.h"

#include <algorithm>
#include <atomic>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/ann/simd_variants.h"

namespace imagesearch::index {
namespace {

float DotF32(const float* a, const float* b, size_t d) {
  // Eight partial sums: what a compiler can vectorise without reordering a float sum.
  float sums[8] = {};
  size_t i = 0;
  for (; i + 8 <= d; i += 8) {
    for (size_t j = 0; j < 8; ++j) sums[j] += a[i + j] * b[i + j];
  }
  float tail = 0;
  for (; i < d; ++i) tail += a[i] * b[i];
  return ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7])) +
         tail;
}

int32_t DotCode(const uint8_t* code, const int8_t* query, size_t stride) {
  int32_t sum = 0;
  for (size_t i = 0; i < stride; ++i) {
    sum += static_cast<int16_t>(code[i]) * static_cast<int16_t>(query[i]);
  }
  return sum;
}

void DotRows(const uint8_t* codes, size_t stride, size_t n, const int8_t* query, int32_t* out) {
  for (size_t i = 0; i < n; ++i) out[i] = DotCode(codes + i * stride, query, stride);
}

void DotGather(const uint8_t* codes, size_t stride, const uint32_t* positions, size_t n,
               const int8_t* query, int32_t* out) {
  for (size_t i = 0; i < n; ++i) {
    out[i] = DotCode(codes + size_t{positions[i]} * stride, query, stride);
  }
}

void DotTile(const uint8_t* codes, size_t stride, size_t n, const int8_t* queries, size_t nq,
             int32_t* out, size_t out_stride) {
  for (size_t q = 0; q < nq; ++q) {
    DotRows(codes, stride, n, queries + q * stride, out + q * out_stride);
  }
}

float Largest(const float* x, const float* m, size_t d) {
  float largest = 0;
  for (size_t i = 0; i < d; ++i) {
    const float size = std::fabs(x[i] - m[i]);
    largest = size > largest ? size : largest;
  }
  return largest;
}

CodeSums Encode(const float* x, const float* m, size_t d, float scale, float inverse,
                uint8_t* code) {
  CodeSums sums;
  for (size_t i = 0; i < d; ++i) {
    const float value = x[i] - m[i];
    float wanted = value * inverse;
    wanted = wanted == wanted ? wanted : 0;
    const auto c = static_cast<int32_t>(std::lrintf(std::clamp(wanted, -127.0f, 127.0f)));
    code[i] = static_cast<uint8_t>(c + 128);
    const double coded = static_cast<double>(scale) * c, miss = value - coded;
    sums.error2 += miss * miss;
    sums.norm2 += coded * coded;
  }
  return sums;
}

size_t Select(const int32_t* dots, const float* scales, size_t n, int32_t offset, float query_scale,
              float slack, float threshold, uint32_t* selected) {
  size_t count = 0;
  for (size_t i = 0; i < n; ++i) {
    selected[count] = static_cast<uint32_t>(i);
    count += scales[i] * (static_cast<float>(dots[i] - offset) * query_scale + slack) >= threshold
                 ? 1
                 : 0;
  }
  return count;
}

const SimdKernels* KernelsOf(SimdLevel level) {
  switch (level) {
#if defined(__x86_64__)
    case SimdLevel::kAvx2:
      return &Avx2Kernels();
    case SimdLevel::kAvx512:
      return &Avx512Kernels();
    case SimdLevel::kAvx512Vnni:
      return &Avx512VnniKernels();
#endif
    default:
      return &PortableKernels();
  }
}

std::atomic<const SimdKernels*>& InForce() {
  static std::atomic<const SimdKernels*> kernels{KernelsOf(AvailableSimdLevels().back())};
  return kernels;
}

}  // namespace

const SimdKernels& PortableKernels() {
  static constexpr SimdKernels kKernels = {SimdLevel::kPortable,
                                           "portable",
                                           DotF32,
                                           DotRows,
                                           DotGather,
                                           DotTile,
                                           Largest,
                                           Encode,
                                           Select};
  return kKernels;
}

std::vector<SimdLevel> AvailableSimdLevels() {
  std::vector<SimdLevel> levels = {SimdLevel::kPortable};
#if defined(__x86_64__)
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return levels;
  levels.push_back(SimdLevel::kAvx2);
  if (!__builtin_cpu_supports("avx512f") || !__builtin_cpu_supports("avx512bw") ||
      !__builtin_cpu_supports("avx512dq") || !__builtin_cpu_supports("avx512vl")) {
    return levels;
  }
  levels.push_back(SimdLevel::kAvx512);
  if (__builtin_cpu_supports("avx512vnni")) levels.push_back(SimdLevel::kAvx512Vnni);
#endif
  return levels;
}

const SimdKernels& Simd() { return *InForce().load(std::memory_order_relaxed); }

bool ForceSimdLevel(std::optional<SimdLevel> level) {
  const std::vector<SimdLevel> levels = AvailableSimdLevels();
  const SimdLevel wanted = level.value_or(levels.back());
  for (SimdLevel available : levels) {
    if (available == wanted) {
      InForce().store(KernelsOf(wanted), std::memory_order_relaxed);
      return true;
    }
  }
  return false;
}

absl::Status LimitSimd(absl::string_view name) {
  std::optional<SimdLevel> level;
  if (name == "avx512") {
    const SimdLevel best = AvailableSimdLevels().back();
    level = best > SimdLevel::kAvx512 ? best : SimdLevel::kAvx512;
  } else if (name == "avx2") {
    level = SimdLevel::kAvx2;
  } else if (name == "baseline") {
    level = SimdLevel::kPortable;
  } else if (name != "auto") {
    return InvalidArgument("BAD_SIMD", absl::StrCat("no instruction set is called '", name,
                                                    "'; auto, avx512, avx2 and baseline are"));
  }
  if (ForceSimdLevel(level)) return absl::OkStatus();
  return Error(absl::StatusCode::kFailedPrecondition, "NO_SIMD",
               absl::StrCat("this processor has no ", name));
}

const char* SimdLevelName() { return Simd().name; }

}  // namespace imagesearch::index
