// In place of the AVX-512 kernels on other processors: Supported() answers false there, so that
// nothing here is called.
#include <cstdlib>

#include "encoder/clip/kernels/gemm.h"

namespace imagesearch::encoder::kernels {

int64_t PackedBytes(int64_t, int64_t, Number) { std::abort(); }
void PackWeights(const float*, int64_t, int64_t, Number, uint8_t*, float*, int32_t*) {
  std::abort();
}
void Multiply(const RowsView&, const WeightsView&, const Sink&, int64_t, int64_t, int64_t,
              int64_t) {
  std::abort();
}
int64_t AttentionScratch(int64_t, int64_t) { std::abort(); }
void Attend(const Attention&) { std::abort(); }
void ConvolveDepthwise(const Depthwise&, int64_t, int64_t) { std::abort(); }
void LayerNormRow(const float*, int64_t, const float*, const float*, float, Number, uint8_t*,
                  float*, int32_t*) {
  std::abort();
}
void QuantiseRow(Number, const void*, int64_t, uint8_t*, float*, int32_t*) { std::abort(); }

}  // namespace imagesearch::encoder::kernels
