// CLIP's vision transformer: patches and a class token through a transformer; the class token's
// final state, normed and projected, is the embedding.
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <omp.h>

#include <optional>
#include <utility>

#include "encoder/clip/aligned_buffer.h"
#include "encoder/clip/image_tower.h"
#include "encoder/clip/packed_linear.h"

namespace imagesearch::encoder {
namespace {

using kernels::Number;

// Patches times their embedding matrix.
class PatchEmbedding {
 public:
  // weight: (width, patch, patch, 3)
  PatchEmbedding(const VitConfig& config, const PixelConfig& pixels, const at::Tensor& weight,
                 const Backend& backend)
      : config_(config), table_(pixels), device_(backend.device) {
    const at::Tensor matrix = weight.reshape({weight.size(0), -1});
    const std::optional<Number> number = PackedNumber(backend);
    if (number && matrix.size(1) % 4 == 0) {
      packed_.emplace(LinearWeights{matrix, {}}, WideNumber(backend));
    } else {
      matrix_ = matrix.to(device_, backend.type());
    }
  }

  // -> (images * grid * grid, width) fp32
  at::Tensor operator()(const std::vector<const uint8_t*>& images) {
    if (packed_) return Packed(images);
    const int64_t count = static_cast<int64_t>(images.size()), grid = config_.grid(),
                  patch = config_.patch_size;
    const at::Tensor patches = table_.Normalise(images, config_.image_size)
                                   .view({count, grid, patch, grid, patch * 3})
                                   .transpose(2, 3)
                                   .to(device_, matrix_.scalar_type())
                                   .reshape({count * grid * grid, patch * patch * 3});
    return at::linear(patches, matrix_).to(at::kFloat);
  }

  uint64_t memory_bytes() const { return packed_ ? packed_->memory_bytes() : matrix_.nbytes(); }

 private:
  at::Tensor Packed(const std::vector<const uint8_t*>& images) {
    const int64_t grid = config_.grid(), patch = config_.patch_size, inputs = packed_->inputs(),
                  item = BytesOf(packed_->number());
    const int64_t rows = static_cast<int64_t>(images.size()) * grid * grid;
    rows_.Reserve(rows * inputs * item);
    at::Tensor result =
        at::empty({rows, packed_->outputs()}, at::TensorOptions().dtype(at::kFloat));
    kernels::RowsView view;
    view.data = rows_.data();
    view.rows = rows;
    view.stride = inputs * item;
    kernels::Sink sink;
    sink.fp32 = result.data_ptr<float>();
    sink.stride = packed_->outputs();
    const int threads = at::get_num_threads();
    claims_.Reserve(threads);
#pragma omp parallel num_threads(threads)
    {
      Worker me(omp_get_thread_num(), omp_get_num_threads(), &claims_, phase_);
      me.Divide(rows, grid, [&](int64_t begin, int64_t end) {
        for (int64_t row = begin; row < end; ++row) {
          const int64_t y = row / grid % grid, x = row % grid;
          const uint8_t* const corner =
              images[row / (grid * grid)] + (y * patch * config_.image_size + x * patch) * 3;
          uint8_t* to = rows_.data() + row * inputs * item;
          for (int64_t line = 0; line < patch; ++line) {
            for (int64_t i = 0; i < patch; ++i, to += 3 * item)
              table_.Write(corner + (line * config_.image_size + i) * 3, packed_->number(), to);
          }
        }
      });
#pragma omp barrier
      packed_->Multiply(me, view, sink);
      if (me.index() == 0) phase_ = me.phase();
    }
    return result;
  }

  const VitConfig config_;
  const PixelTable table_;
  const at::Device device_;
  std::optional<PackedLinear> packed_;  // or:
  at::Tensor matrix_;                   // (width, patch * patch * 3)
  AlignedBuffer rows_;
  Claims claims_;
  uint16_t phase_ = 0;  // of claims_, at the end of the last call
};

class Vit : public ImageTower {
 public:
  Vit(const VitConfig& config, const PixelConfig& pixels, VitWeights weights,
      std::unique_ptr<Transformer> transformer, const Backend& backend)
      : config_(config),
        device_(backend.device),
        patch_(config, pixels, weights.patch, backend),
        transformer_(std::move(transformer)) {
    projection_ = weights.projection.to(device_);
    // The class token meets only its own position.
    first_token_ = (weights.class_embedding + weights.positions[0]).to(device_);
    positions_ = weights.positions.narrow(0, 1, config.tokens() - 1).contiguous().to(device_);
    for (const auto& [from, to] : {std::make_pair(&weights.pre_norm, &pre_norm_),
                                   std::make_pair(&weights.post_norm, &post_norm_)})
      *to = {from->scale.to(device_), from->bias.to(device_)};
    memory_bytes_ = transformer_->memory_bytes() + patch_.memory_bytes() + projection_.nbytes() +
                    positions_.nbytes();
  }

  at::Tensor Embed(const std::vector<const uint8_t*>& images) override {
    const int64_t count = static_cast<int64_t>(images.size()), width = config_.transformer.width,
                  patches = config_.tokens() - 1;
    const at::Tensor embedded = patch_(images);
    at::Tensor x = at::empty({count, config_.tokens(), width}, embedded.options());
    x.select(1, 0).copy_(first_token_);
    x.narrow(1, 1, patches).copy_(embedded.view({count, patches, width}) + positions_);
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
  const at::Device device_;
  PatchEmbedding patch_;
  const std::unique_ptr<Transformer> transformer_;
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
