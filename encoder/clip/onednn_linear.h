// A linear layer of oneDNN, as LibTorch carries it: the weight is laid out once for the CPU's
// instructions, and the activation is part of the product.
#ifndef IMAGESEARCH_ENCODER_CLIP_ONEDNN_LINEAR_H_
#define IMAGESEARCH_ENCODER_CLIP_ONEDNN_LINEAR_H_

#include <ATen/core/TensorBody.h>

#include <cstdint>

#include "encoder/clip/weights.h"

namespace imagesearch::encoder {

// Thread-safe: constant after construction.
class OneDnnLinear {
 public:
  // kSwish: x * sigmoid(x). kGelu: the exact one.
  enum class Function { kNone, kSwish, kGelu };

  // Whether this LibTorch has these layers for weights of that type on this CPU.
  static bool Available(at::ScalarType type);

  // `weights` are rounded to `type`, for which Available() holds; they have a bias.
  OneDnnLinear(const LinearWeights& weights, at::ScalarType type, Function function);

  // x: (rows, inputs) of `type` -> (rows, outputs) of `type`
  at::Tensor operator()(const at::Tensor& x) const;

  uint64_t memory_bytes() const { return memory_bytes_; }

 private:
  Function function_;
  at::Tensor weight_, bias_;
  uint64_t memory_bytes_;
};

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_CLIP_ONEDNN_LINEAR_H_
