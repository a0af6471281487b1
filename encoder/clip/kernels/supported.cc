// Asks the CPU. Compiled for every CPU.
#include "encoder/clip/kernels/gemm.h"

namespace imagesearch::encoder::kernels {

bool Supported(Number number) {
#if defined(__x86_64__)
  const bool base = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                    __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  if (!base) return false;
  if (number == Number::kFp32) return true;
  return number == Number::kBf16 ? __builtin_cpu_supports("avx512bf16")
                                 : __builtin_cpu_supports("avx512vnni");
#else
  return false;
#endif
}

}  // namespace imagesearch::encoder::kernels
