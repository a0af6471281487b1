// CLIP's vision transformer: patches and a class token through a transformer; the class token's
// final state, normed and projected, is the embedding.
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>

#include <utility>

#include "encoder/clip/image_tower.h"

namespace imagesearch::encoder {
namespace {

class Vit : public ImageTower {
 public:
  Vit(const VitConfig& config, const PixelConfig& pixels, VitWeights weights,
      std::unique_ptr<Transformer> transformer, const Backend& backend)
      : config_(config),
        table_(pixels),
        device_(backend.device),
        type_(backend.type()),
        transformer_(std::move(transformer)) {
    const int64_t width = config.transformer.width;
    patch_ = weights.patch.reshape({width, -1}).to(device_, type_);
    projection_ = weights.projection.to(device_);
    // The class token meets only its own position.
    first_token_ = (weights.class_embedding + weights.positions[0]).to(device_);
    positions_ = weights.positions.narrow(0, 1, config.tokens() - 1).contiguous().to(device_);
    for (const auto& [from, to] : {std::make_pair(&weights.pre_norm, &pre_norm_),
                                   std::make_pair(&weights.post_norm, &post_norm_)})
      *to = {from->scale.to(device_), from->bias.to(device_)};
    memory_bytes_ =
        transformer_->memory_bytes() + patch_.nbytes() + projection_.nbytes() + positions_.nbytes();
  }

  at::Tensor Embed(const std::vector<const uint8_t*>& images) override {
    const int64_t count = static_cast<int64_t>(images.size()), grid = config_.grid(),
                  patch = config_.patch_size, width = config_.transformer.width;
    const at::Tensor patches = table_.Normalise(images, config_.image_size)
                                   .view({count, grid, patch, grid, patch * 3})
                                   .transpose(2, 3)
                                   .to(device_, type_)
                                   .reshape({count * grid * grid, patch * patch * 3});
    const at::Tensor embedded = at::linear(patches, patch_).to(at::kFloat);
    at::Tensor x = at::empty({count, config_.tokens(), width}, embedded.options());
    x.select(1, 0).copy_(first_token_);
    x.narrow(1, 1, grid * grid).copy_(embedded.view({count, grid * grid, width}) + positions_);
    x = Norm(x, pre_norm_).view({count * config_.tokens(), width});
    Sequences sequences;
    sequences.lengths.assign(count, config_.tokens());
    sequences.pick.assign(count, 0);
    x = transformer_->Forward(std::move(x), sequences);
    return at::linear(Norm(x, post_norm_), projection_).to(at::kCPU).contiguous();
  }

  uint64_t memory_bytes() const override { return memory_bytes_; }

 private:
  at::Tensor Norm(const at::Tensor& x, const NormWeights& norm) const {
    const TransformerConfig& config = config_.transformer;
    return at::layer_norm(x, {config.width}, norm.scale, norm.bias, config.layer_norm_eps);
  }

  const VitConfig config_;
  const PixelTable table_;
  const at::Device device_;
  const at::ScalarType type_;
  const std::unique_ptr<Transformer> transformer_;
  at::Tensor patch_;        // (width, patch * patch * 3)
  at::Tensor first_token_;  // (width)
  at::Tensor positions_;    // (grid * grid, width)
  NormWeights pre_norm_, post_norm_;
  at::Tensor projection_;  // (dimension, width)
  uint64_t memory_bytes_ = 0;
};

}  // namespace

std::unique_ptr<ImageTower> MakeVit(const VitConfig& config, const PixelConfig& pixels,
                                    int dimension, ClipConfig::Names names, Weights& weights,
                                    const Backend& backend) {
  VitWeights vit = ReadVit(weights, names, config, dimension);
  const auto block = [&](int i) { return ReadVitBlock(weights, names, config, i); };
  if (!weights.readable()) {
    for (int i = 0; i < config.transformer.layers; ++i) block(i);
    return nullptr;
  }
  return std::make_unique<Vit>(config, pixels, std::move(vit),
                               MakeTransformer(config.transformer, block, backend), backend);
}

}  // namespace imagesearch::encoder
