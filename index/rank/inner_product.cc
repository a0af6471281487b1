#include "index/rank/inner_product.h"

namespace imagesearch::index {

#if defined(__x86_64__)
__attribute__((target_clones("avx2", "default")))
#endif
float InnerProduct(const float* a, const float* b, size_t dimension) {
  constexpr size_t kLanes = 32;
  float lanes[kLanes] = {};
  size_t i = 0;
  for (; i + kLanes <= dimension; i += kLanes) {
    for (size_t lane = 0; lane < kLanes; ++lane) lanes[lane] += a[i + lane] * b[i + lane];
  }
  for (size_t lane = 0; i < dimension; ++i, ++lane) lanes[lane] += a[i] * b[i];
  for (size_t width = kLanes / 2; width > 0; width /= 2) {
    for (size_t lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  }
  return lanes[0];
}

}  // namespace imagesearch::index
