// EfficientNet-Lite with batch norms folded, a second tail tuned on artwork, and a head that adds
// what the ImageNet classifier knows. As encoder/training/model.py computes it:
//
//   t = blocks[0 : from_block](relu6(stem(x)))
//   f = mean(relu6(head_conv(blocks[from_block :](t))))      features for photographs
//   g = mean(relu6(art.head_conv(art.blocks(t))))            features for artwork
//   a = l2(fc2(gelu(fc1(g))))
//   c = softmax(classifier(f) / temperature) class_embedding  (ConSE, Norouzi et al. 2014)
//   v = l2(a + weight * c)
//
// A block is [expand 1x1 -> relu6] -> depthwise -> relu6 -> project 1x1 [+ input]. Padding is
// TensorFlow's "same": the odd pixel goes right and below.
#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/hardtanh.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/softmax.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "encoder/clip/image_tower.h"

namespace imagesearch::encoder {
namespace {

struct Conv {
  at::Tensor weight;  // (outputs, inputs / groups, kernel, kernel)
  at::Tensor bias;    // (outputs)
  int stride = 1;
  int64_t groups = 1;

  at::Tensor operator()(at::Tensor x) const {
    const auto total = [&](int64_t size) {  // padding along one side
      const int64_t outputs = (size + stride - 1) / stride;
      return std::max<int64_t>((outputs - 1) * stride + weight.size(2) - size, 0);
    };
    const int64_t high = total(x.size(2)), wide = total(x.size(3));
    if (high % 2 == 0 && wide % 2 == 0)
      return at::conv2d(x, weight, bias, {stride, stride}, {high / 2, wide / 2}, {1, 1}, groups);
    x = at::constant_pad_nd(x, {wide / 2, wide - wide / 2, high / 2, high - high / 2});
    return at::conv2d(x, weight, bias, {stride, stride}, at::IntArrayRef({0, 0}), {1, 1}, groups);
  }
};

at::Tensor Relu6(const at::Tensor& x) { return at::hardtanh(x, 0, 6); }

at::Tensor UnitLength(const at::Tensor& x) { return x / x.norm(2, {-1}, true).clamp_min(1e-12); }

struct MobileBlock {
  Conv expand;  // undefined weight: none
  Conv depthwise, project;
  bool residual = false;

  at::Tensor operator()(const at::Tensor& x) const {
    const at::Tensor wide = expand.weight.defined() ? Relu6(expand(x)) : x;
    const at::Tensor y = project(Relu6(depthwise(wide)));
    return residual ? x + y : y;
  }
};

struct Tail {
  std::vector<MobileBlock> blocks;
  Conv head_conv;

  // (n, c, h, w) -> (n, head channels)
  at::Tensor operator()(at::Tensor x) const {
    for (const MobileBlock& block : blocks) x = block(x);
    return Relu6(head_conv(x)).to(at::kFloat).mean({2, 3});
  }
};

// Reads in check mode too (giving undefined tensors).
class Reader {
 public:
  Reader(Weights& weights, const Backend& backend) : weights_(weights), backend_(backend) {}

  Conv ReadConv(const std::string& name, int64_t outputs, int64_t inputs, int kernel, int stride,
                int64_t groups = 1) {
    Conv conv;
    conv.weight = weights_.Get(name + ".weight", {outputs, inputs / groups, kernel, kernel});
    conv.bias = weights_.Get(name + ".bias", {outputs});
    conv.stride = stride;
    conv.groups = groups;
    if (weights_.readable()) {
      conv.weight = Keep(conv.weight, backend_.type()).contiguous(at::MemoryFormat::ChannelsLast);
      conv.bias = Keep(conv.bias, backend_.type());
    }
    return conv;
  }

  LinearWeights ReadLinear(const std::string& name, int64_t outputs, int64_t inputs) {
    LinearWeights linear = {weights_.Get(name + ".weight", {outputs, inputs}),
                            weights_.Get(name + ".bias", {outputs})};
    if (weights_.readable())
      linear = {Keep(linear.weight, at::kFloat), Keep(linear.bias, at::kFloat)};
    return linear;
  }

  at::Tensor ReadMatrix(const std::string& name, const std::vector<int64_t>& shape) {
    const at::Tensor tensor = weights_.Get(name, shape);
    return weights_.readable() ? Keep(tensor, at::kFloat) : tensor;
  }

  Tail ReadTail(const std::string& prefix, const std::vector<MobileBlockConfig>& configs,
                size_t from, int channels) {
    Tail tail;
    tail.blocks = ReadBlocks(prefix, configs, from, configs.size());
    tail.head_conv = ReadConv(prefix + "head_conv", channels, configs.back().out_channels, 1, 1);
    return tail;
  }

  std::vector<MobileBlock> ReadBlocks(const std::string& prefix,
                                      const std::vector<MobileBlockConfig>& configs, size_t from,
                                      size_t to) {
    std::vector<MobileBlock> blocks;
    for (size_t i = from; i < to; ++i) {
      const MobileBlockConfig& config = configs[i];
      const std::string name = absl::StrCat(prefix, "blocks.", i, ".");
      const int64_t wide = int64_t{config.in_channels} * config.expand_ratio;
      MobileBlock block;
      if (config.expand_ratio != 1)
        block.expand = ReadConv(name + "expand", wide, config.in_channels, 1, 1);
      block.depthwise =
          ReadConv(name + "depthwise", wide, wide, config.kernel, config.stride, wide);
      block.project = ReadConv(name + "project", config.out_channels, wide, 1, 1);
      block.residual = config.residual;
      blocks.push_back(std::move(block));
    }
    return blocks;
  }

  uint64_t memory_bytes() const { return memory_bytes_; }

 private:
  at::Tensor Keep(const at::Tensor& tensor, at::ScalarType type) {
    at::Tensor held = tensor.to(backend_.device, type);
    memory_bytes_ += held.nbytes();
    return held;
  }

  Weights& weights_;
  const Backend& backend_;
  uint64_t memory_bytes_ = 0;
};

class EfficientNetLite : public ImageTower {
 public:
  EfficientNetLite(const EfficientNetLiteConfig& config, const PixelConfig& pixels, int dimension,
                   Weights& weights, const Backend& backend)
      : config_(config), table_(pixels), device_(backend.device), type_(backend.type()) {
    Reader reader(weights, backend);
    const std::string prefix = "vision_model.";
    const size_t from = config.art_from_block;
    stem_ = reader.ReadConv(prefix + "stem", config.stem_channels, 3, config.stem_kernel,
                            config.stem_stride);
    trunk_ = reader.ReadBlocks(prefix, config.blocks, 0, from);
    class_tail_ = reader.ReadTail(prefix, config.blocks, from, config.head_conv_channels);
    art_tail_ =
        reader.ReadTail(prefix + "art_tail.", config.art_blocks, 0, config.art_head_conv_channels);
    fc1_ =
        reader.ReadLinear(prefix + "head.fc1", config.head_hidden, config.art_head_conv_channels);
    fc2_ = reader.ReadLinear(prefix + "head.fc2", dimension, config.head_hidden);
    classifier_ = reader.ReadLinear(prefix + "head.classifier", config.num_classes,
                                    config.head_conv_channels);
    class_embedding_ =
        reader.ReadMatrix(prefix + "head.class_embedding", {config.num_classes, dimension});
    memory_bytes_ = reader.memory_bytes();
  }

  at::Tensor Embed(const std::vector<const uint8_t*>& images) override {
    // NHWC in memory is channels-last to LibTorch.
    at::Tensor x =
        table_.Normalise(images, config_.image_size).permute({0, 3, 1, 2}).to(device_, type_);
    x = Relu6(stem_(x));
    for (const MobileBlock& block : trunk_) x = block(x);
    const at::Tensor photo = class_tail_(x), art = art_tail_(x);
    const at::Tensor a = UnitLength(
        at::linear(at::gelu(at::linear(art, fc1_.weight, fc1_.bias)), fc2_.weight, fc2_.bias));
    const at::Tensor classes = at::softmax(
        at::linear(photo, classifier_.weight, classifier_.bias) / config_.temperature, -1);
    return (a + config_.class_weight * classes.matmul(class_embedding_)).to(at::kCPU).contiguous();
  }

  uint64_t memory_bytes() const override { return memory_bytes_; }

 private:
  const EfficientNetLiteConfig config_;
  const PixelTable table_;
  const at::Device device_;
  const at::ScalarType type_;
  Conv stem_;
  std::vector<MobileBlock> trunk_;
  Tail class_tail_, art_tail_;
  LinearWeights fc1_, fc2_, classifier_;
  at::Tensor class_embedding_;  // (classes, dimension)
  uint64_t memory_bytes_ = 0;
};

}  // namespace

std::unique_ptr<ImageTower> MakeEfficientNetLite(const EfficientNetLiteConfig& config,
                                                 const PixelConfig& pixels, int dimension,
                                                 Weights& weights, const Backend& backend) {
  auto tower = std::make_unique<EfficientNetLite>(config, pixels, dimension, weights, backend);
  if (!weights.readable()) return nullptr;
  return tower;
}

}  // namespace imagesearch::encoder
