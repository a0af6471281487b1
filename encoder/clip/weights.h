// Takes named tensors out of a checkpoint as fp32, whichever names and precision it uses.
#ifndef IMAGESEARCH_ENCODER_CLIP_WEIGHTS_H_
#define IMAGESEARCH_ENCODER_CLIP_WEIGHTS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "encoder/clip/config.h"
#include "encoder/clip/safetensors.h"

namespace imagesearch::encoder {

// Gathers the first error. In check mode no data is read: Get only looks at names, types and
// shapes, so that a bad checkpoint is refused before seconds of conversion begin.
class Weights {
 public:
  enum class Mode { kCheck, kRead };
  // `where` names the checkpoint in errors. All must outlive this object.
  Weights(const Safetensors& file, std::string where, Mode mode)
      : file_(file), where_(std::move(where)), mode_(mode) {}

  // A contiguous fp32 copy; an undefined tensor after an error or in check mode. Errors:
  // INVALID_ARGUMENT MODEL_TENSOR_MISSING, MODEL_TENSOR_SHAPE, MODEL_TENSOR_TYPE.
  at::Tensor Get(const std::string& name, const std::vector<int64_t>& shape);

  bool Has(const std::string& name) const { return file_.Find(name) != nullptr; }
  // True when the tensors that Get returned hold data.
  bool readable() const { return mode_ == Mode::kRead && status_.ok(); }
  const absl::Status& status() const { return status_; }

 private:
  const Safetensors& file_;
  const std::string where_;
  const Mode mode_;
  absl::Status status_;
};

struct NormWeights {
  at::Tensor scale, bias;  // (width)
};

// y = x weight^T + bias.
struct LinearWeights {
  at::Tensor weight;  // (outputs, inputs)
  at::Tensor bias;    // (outputs), or undefined
};

struct BlockWeights {
  NormWeights norm1, norm2;
  LinearWeights qkv;  // outputs: all queries, all keys, all values
  LinearWeights out, fc1, fc2;
};

// Block i of a stack; undefined tensors as in Weights::Get.
using BlockSource = std::function<BlockWeights(int)>;

struct VitWeights {
  at::Tensor patch;            // (width, patch, patch, 3)
  at::Tensor class_embedding;  // (width)
  at::Tensor positions;        // (tokens, width)
  NormWeights pre_norm, post_norm;
  at::Tensor projection;  // (dimension, width)
};

struct TextWeights {
  at::Tensor tokens;     // (vocab, width)
  at::Tensor positions;  // (context, width)
  NormWeights final_norm;
  at::Tensor projection;  // (dimension, width)
};

VitWeights ReadVit(Weights& weights, ClipConfig::Names names, const VitConfig& config,
                   int dimension);
TextWeights ReadText(Weights& weights, ClipConfig::Names names, const TextConfig& config,
                     int dimension);
BlockWeights ReadVitBlock(Weights& weights, ClipConfig::Names names, const VitConfig& config,
                          int index);
BlockWeights ReadTextBlock(Weights& weights, ClipConfig::Names names, const TextConfig& config,
                           int index);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_CLIP_WEIGHTS_H_
