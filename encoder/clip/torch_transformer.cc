// The transformer in LibTorch's own operators.
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/layer_norm.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/sigmoid.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "encoder/clip/onednn_linear.h"
#include "encoder/clip/transformer.h"

namespace imagesearch::encoder {
namespace {

// QuickGELU is x * sigmoid(kQuickGelu * x), which is the swish of kQuickGelu * x over kQuickGelu.
constexpr double kQuickGelu = 1.702;

// A linear layer of either kind.
struct Linear {
  LinearWeights plain;
  std::optional<OneDnnLinear> onednn;

  at::Tensor operator()(const at::Tensor& x) const {
    return onednn ? (*onednn)(x) : at::linear(x, plain.weight, plain.bias);
  }
};

class TorchTransformer : public Transformer {
 public:
  TorchTransformer(const TransformerConfig& config, const BlockSource& block, at::ScalarType type,
                   at::Device device, bool onednn)
      : config_(config), type_(type), onednn_(onednn) {
    const auto keep = [&](const at::Tensor& tensor, at::ScalarType as) {
      at::Tensor held = tensor.to(device, as);
      memory_bytes_ += held.nbytes();
      return held;
    };
    for (int i = 0; i < config.layers; ++i) {
      BlockWeights weights = block(i);
      for (NormWeights* norm : {&weights.norm1, &weights.norm2}) {
        norm->scale = keep(norm->scale, at::kFloat);
        norm->bias = keep(norm->bias, at::kFloat);
      }
      using Function = OneDnnLinear::Function;
      const bool quick = config.activation == Activation::kQuickGelu;
      if (onednn && quick) {
        weights.fc1 = {weights.fc1.weight * kQuickGelu, weights.fc1.bias * kQuickGelu};
        weights.fc2.weight = weights.fc2.weight / kQuickGelu;
      }
      const auto make = [&](const LinearWeights& linear, Function function) -> Linear {
        if (!onednn) return {{keep(linear.weight, type), keep(linear.bias, type)}, std::nullopt};
        Linear made{{}, OneDnnLinear(linear, type, function)};
        memory_bytes_ += made.onednn->memory_bytes();
        return made;
      };
      blocks_.push_back({weights.norm1, weights.norm2, make(weights.qkv, Function::kNone),
                         make(weights.out, Function::kNone),
                         make(weights.fc1, quick ? Function::kSwish : Function::kGelu),
                         make(weights.fc2, Function::kNone)});
    }
  }

  at::Tensor Forward(at::Tensor x, const Sequences& sequences) override {
    std::vector<int64_t> rows;
    int64_t begin = 0;
    for (size_t i = 0; i < sequences.lengths.size(); ++i) {
      rows.push_back(begin + sequences.pick[i]);
      begin += sequences.lengths[i];
    }
    const at::Tensor picked = at::tensor(rows, at::kLong).to(x.device());
    for (const Block& block : blocks_) {
      at::Tensor attended = Attention(Norm(x, block.norm1), block, sequences);
      if (&block == &blocks_.back()) {
        attended = attended.index_select(0, picked);
        x = x.index_select(0, picked);
      }
      x = x + block.out(attended).to(at::kFloat);
      x = x + block.fc2(Activate(block.fc1(Norm(x, block.norm2)))).to(at::kFloat);
    }
    return x;
  }

  uint64_t memory_bytes() const override { return memory_bytes_; }

 private:
  struct Block {
    NormWeights norm1, norm2;
    Linear qkv, out, fc1, fc2;
  };

  at::Tensor Norm(const at::Tensor& x, const NormWeights& norm) const {
    return at::layer_norm(x, {config_.width}, norm.scale, norm.bias, config_.layer_norm_eps)
        .to(type_);
  }

  // A oneDNN layer has done it already.
  at::Tensor Activate(const at::Tensor& x) const {
    if (onednn_) return x;
    if (config_.activation == Activation::kGelu) return at::gelu(x);
    return x * at::sigmoid(x * kQuickGelu);
  }

  // x: (rows, width) -> (rows, width)
  at::Tensor Attention(const at::Tensor& x, const Block& block, const Sequences& sequences) const {
    const int64_t head_width = config_.width / config_.heads;
    const at::Tensor qkv = block.qkv(x);
    const auto attend = [&](const at::Tensor& part, int64_t count, int64_t length) {
      // (count * length, 3 * width) -> 3 of (count, heads, length, head_width)
      const at::Tensor split =
          part.view({count, length, 3, config_.heads, head_width}).permute({2, 0, 3, 1, 4});
      return at::scaled_dot_product_attention(split[0], split[1], split[2], {}, 0.0,
                                              sequences.causal)
          .transpose(1, 2)
          .reshape({count * length, config_.width});
    };
    const std::vector<int64_t>& lengths = sequences.lengths;
    if (std::all_of(lengths.begin(), lengths.end(), [&](int64_t n) { return n == lengths[0]; }))
      return attend(qkv, static_cast<int64_t>(lengths.size()), lengths[0]);
    std::vector<at::Tensor> parts;
    int64_t begin = 0;
    for (const int64_t length : lengths) {
      parts.push_back(attend(qkv.narrow(0, begin, length), 1, length));
      begin += length;
    }
    return at::cat(parts);
  }

  const TransformerConfig config_;
  const at::ScalarType type_;
  const bool onednn_;
  std::vector<Block> blocks_;
  uint64_t memory_bytes_ = 0;
};

}  // namespace

std::unique_ptr<Transformer> MakeTorchTransformer(const TransformerConfig& config,
                                                  const BlockSource& block, at::ScalarType type,
                                                  at::Device device, bool onednn) {
  return std::make_unique<TorchTransformer>(config, block, type, device, onednn);
}

}  // namespace imagesearch::encoder
