#include "index/store/dot.h"

namespace imagesearch::index {
namespace {
constexpr int kLanes = 32;
}  // namespace

#if defined(__x86_64__)
__attribute__((target_clones("avx2", "default")))
#endif
float Dot(const float* a, const float* b, int dimension) {
  float lanes[kLanes] = {};
  int i = 0;
  for (; i + kLanes <= dimension; i += kLanes) {
    for (int lane = 0; lane < kLanes; ++lane) lanes[lane] += a[i + lane] * b[i + lane];
  }
  for (int lane = 0; i < dimension; ++i, ++lane) lanes[lane] += a[i] * b[i];
  for (int width = kLanes / 2; width > 0; width /= 2) {
    for (int lane = 0; lane < width; ++lane) lanes[lane] += lanes[lane + width];
  }
  return lanes[0];
}

}  // namespace imagesearch::index
