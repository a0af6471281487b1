// The kernel tables behind simd.h, for simd.cc and the kernel tests only.
#ifndef IMAGESEARCH_INDEX_ANN_SIMD_VARIANTS_H_
#define IMAGESEARCH_INDEX_ANN_SIMD_VARIANTS_H_

#include "index/ann/simd.h"

namespace imagesearch::index {

const SimdKernels& PortableKernels();
#if defined(__x86_64__)
// Call only where the CPU has the instructions (AvailableSimdLevels).
const SimdKernels& Avx2Kernels();
const SimdKernels& Avx512Kernels();
const SimdKernels& Avx512VnniKernels();
#endif

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_SIMD_VARIANTS_H_
