// CLIP's text transformer: token ids in, an embedding out.
#ifndef IMAGESEARCH_ENCODER_CLIP_TEXT_TOWER_H_
#define IMAGESEARCH_ENCODER_CLIP_TEXT_TOWER_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "encoder/clip/config.h"
#include "encoder/clip/precision.h"
#include "encoder/clip/weights.h"

namespace imagesearch::encoder {

// One caller at a time.
class TextTower {
 public:
  // Null in check mode of `weights`, which then only checks.
  static std::unique_ptr<TextTower> Make(const TextConfig& config, int dimension,
                                         ClipConfig::Names names, Weights& weights,
                                         const Backend& backend);

  TextTower(const TextConfig& config, TextWeights weights, std::unique_ptr<Transformer> transformer,
            const Backend& backend);

  // Each text: start token to end token, unpadded, 1 to context_length ids below vocab_size. Only
  // real tokens are computed: attention is causal, so padding could not change the result.
  // -> (texts, dimension) fp32 on the CPU, contiguous, not yet of length 1.
  at::Tensor Embed(const std::vector<const std::vector<int32_t>*>& texts);

  uint64_t memory_bytes() const;  // of the weights as held

 private:
  const TextConfig config_;
  const at::Device device_;
  const TextWeights weights_;
  const std::unique_ptr<Transformer> transformer_;
};

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_CLIP_TEXT_TOWER_H_
