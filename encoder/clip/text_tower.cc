// Embeds tokens, runs the causal transformer, pools at the end token.
#include "encoder/clip/text_tower.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>

#include <algorithm>
#include <utility>

namespace imagesearch::encoder {
namespace {

// The position whose state is the text's: see TextPooling.
int64_t PooledPosition(const std::vector<int32_t>& ids, const TextConfig& config) {
  if (config.pooling == TextPooling::kHighestId)
    return std::max_element(ids.begin(), ids.end()) - ids.begin();
  const auto end = std::find(ids.begin(), ids.end(), config.end_id);
  return end == ids.end() ? 0 : end - ids.begin();  // as transformers' argmax of all zeros
}

}  // namespace

std::unique_ptr<TextTower> TextTower::Make(const TextConfig& config, int dimension,
                                           ClipConfig::Names names, Weights& weights,
                                           const Backend& backend) {
  TextWeights text = ReadText(weights, names, config, dimension);
  const auto block = [&](int i) { return ReadTextBlock(weights, names, config, i); };
  if (!weights.readable()) {
    for (int i = 0; i < config.transformer.layers; ++i) block(i);
    return nullptr;
  }
  return std::make_unique<TextTower>(config, std::move(text),
                                     MakeTransformer(config.transformer, block, backend), backend);
}

TextTower::TextTower(const TextConfig& config, TextWeights weights,
                     std::unique_ptr<Transformer> transformer, const Backend& backend)
    : config_(config),
      device_(backend.device),
      weights_{weights.tokens,
               weights.positions,
               {weights.final_norm.scale.to(device_), weights.final_norm.bias.to(device_)},
               weights.projection.to(device_)},
      transformer_(std::move(transformer)) {}

at::Tensor TextTower::Embed(const std::vector<const std::vector<int32_t>*>& texts) {
  const int64_t width = config_.transformer.width;
  Sequences sequences;
  sequences.causal = true;
  int64_t rows = 0;
  for (const std::vector<int32_t>* ids : texts) {
    // What lies behind the pooled position can't reach it.
    sequences.pick.push_back(PooledPosition(*ids, config_));
    sequences.lengths.push_back(sequences.pick.back() + 1);
    rows += sequences.lengths.back();
  }
  at::Tensor x = at::empty({rows, width}, at::TensorOptions().dtype(at::kFloat));
  const float* const tokens = weights_.tokens.data_ptr<float>();
  const float* const positions = weights_.positions.data_ptr<float>();
  float* out = x.data_ptr<float>();
  for (size_t i = 0; i < texts.size(); ++i) {
    for (int64_t position = 0; position < sequences.lengths[i]; ++position, out += width) {
      const float* token = tokens + width * (*texts[i])[position];
      for (int64_t c = 0; c < width; ++c) out[c] = token[c] + positions[position * width + c];
    }
  }
  x = transformer_->Forward(x.to(device_), sequences);
  x = at::layer_norm(x, {width}, weights_.final_norm.scale, weights_.final_norm.bias,
                     config_.transformer.layer_norm_eps);
  return at::linear(x, weights_.projection).to(at::kCPU).contiguous();
}

uint64_t TextTower::memory_bytes() const {
  return transformer_->memory_bytes() + weights_.tokens.nbytes() + weights_.positions.nbytes() +
         weights_.projection.nbytes();
}

}  // namespace imagesearch::encoder
