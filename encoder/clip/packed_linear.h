// A linear layer whose weights are packed for the AVX-512 kernels.
#ifndef IMAGESEARCH_ENCODER_CLIP_PACKED_LINEAR_H_
#define IMAGESEARCH_ENCODER_CLIP_PACKED_LINEAR_H_

#include <cstdint>
#include <vector>

#include "encoder/clip/aligned_buffer.h"
#include "encoder/clip/kernels/gemm.h"
#include "encoder/clip/team.h"
#include "encoder/clip/weights.h"

namespace imagesearch::encoder {

// Thread-safe: constant after construction.
class PackedLinear {
 public:
  // The number of inputs is a multiple of 4.
  PackedLinear(const LinearWeights& weights, kernels::Number number);

  kernels::Number number() const { return view_.number; }
  int64_t outputs() const { return view_.outputs; }
  int64_t inputs() const { return view_.inputs; }
  uint64_t memory_bytes() const;

  // This thread's part of rows x weight^T + bias. The whole team calls it, and a barrier follows.
  void Multiply(Worker& me, const kernels::RowsView& rows, const kernels::Sink& sink) const;

 private:
  AlignedBuffer packed_;
  std::vector<float> bias_, scale_;
  std::vector<int32_t> sums_;
  kernels::WeightsView view_;
};

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_CLIP_PACKED_LINEAR_H_
