// The transformer stack that both CLIP towers share.
#ifndef IMAGESEARCH_ENCODER_CLIP_TRANSFORMER_H_
#define IMAGESEARCH_ENCODER_CLIP_TRANSFORMER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "encoder/clip/clip_encoder.h"
#include "encoder/clip/config.h"
#include "encoder/clip/kernels/gemm.h"
#include "encoder/clip/weights.h"

namespace imagesearch::encoder {

// Sequences of a batch, laid end to end in one matrix.
struct Sequences {
  std::vector<int64_t> lengths;  // of each sequence, above 0
  std::vector<int64_t> pick;     // for each sequence, the position whose final state is wanted
  bool causal = false;           // a position sees only itself and those before it
};

// Pre-norm blocks: x += out(attention(norm1(x))); x += fc2(activation(fc1(norm2(x)))).
class Transformer {
 public:
  virtual ~Transformer() = default;

  // x: (sum of lengths, width) fp32, contiguous, may be overwritten -> (sequences, width) fp32, the
  // states at the picked positions after the last block (whose other positions are not computed).
  // A sequence's result does not depend on the others beyond rounding. One caller at a time.
  virtual at::Tensor Forward(at::Tensor x, const Sequences& sequences) = 0;

  virtual uint64_t memory_bytes() const = 0;  // of the weights as held
};

// LibTorch's own operators, for any CPU or GPU: the plain path, which faster ones are tested
// against. `type` is that of the weights and of what linear layers read: kFloat, kBFloat16 or
// kHalf; the residual stream and the norms stay fp32. `onednn`: the linear layers are those of
// encoder/clip/onednn_linear.h, which must be available for `type`; on the CPU only.
std::unique_ptr<Transformer> MakeTorchTransformer(const TransformerConfig& config,
                                                  const BlockSource& block, at::ScalarType type,
                                                  at::Device device, bool onednn);

// This project's kernels; the CPU supports `number`, and the widths are multiples of 4. fp32 is
// exact to rounding. bf16 rounds what linear layers read. int8 rounds weights by output and
// activations by row, at run time, so that a row never depends on another; `wide`, kBf16 or kFp32,
// is then the format between its products and of what stays wider. Else `wide` equals `number`.
std::unique_ptr<Transformer> MakePackedTransformer(const TransformerConfig& config,
                                                   const BlockSource& block, kernels::Number number,
                                                   kernels::Number wide);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_CLIP_TRANSFORMER_H_
