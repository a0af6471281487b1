// Reads the weights and chooses the implementation; the head that all share.
#include "encoder/clip/efficientnet_lite.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/softmax.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace imagesearch::encoder {
namespace {

LinearWeights ReadConv(Weights& weights, const std::string& name, int64_t outputs, int64_t inputs,
                       int kernel) {
  return {weights.Get(name + ".weight", {outputs, inputs, kernel, kernel}),
          weights.Get(name + ".bias", {outputs})};
}

LinearWeights ReadLinear(Weights& weights, const std::string& name, int64_t outputs,
                         int64_t inputs) {
  return {weights.Get(name + ".weight", {outputs, inputs}), weights.Get(name + ".bias", {outputs})};
}

// Blocks [from, to).
std::vector<MobileBlockWeights> ReadBlocks(Weights& weights, const std::string& prefix,
                                           const std::vector<MobileBlockConfig>& configs,
                                           size_t from, size_t to) {
  std::vector<MobileBlockWeights> blocks;
  for (size_t i = from; i < to; ++i) {
    const MobileBlockConfig& config = configs[i];
    const std::string name = absl::StrCat(prefix, "blocks.", i, ".");
    const int64_t wide = int64_t{config.in_channels} * config.expand_ratio;
    MobileBlockWeights block;
    if (config.expand_ratio != 1)
      block.expand = ReadConv(weights, name + "expand", wide, config.in_channels, 1);
    block.depthwise = ReadConv(weights, name + "depthwise", wide, 1, config.kernel);
    block.project = ReadConv(weights, name + "project", config.out_channels, wide, 1);
    blocks.push_back(std::move(block));
  }
  return blocks;
}

at::Tensor UnitLength(const at::Tensor& x) { return x / x.norm(2, {-1}, true).clamp_min(1e-12); }

// The packed kernels step over 4 values of the inner dimension at once.
bool ChannelsSuitKernels(const EfficientNetLiteConfig& config) {
  const auto suit = [](const std::vector<MobileBlockConfig>& blocks) {
    return std::all_of(blocks.begin(), blocks.end(), [](const MobileBlockConfig& block) {
      return block.in_channels % 4 == 0 && block.out_channels % 4 == 0;
    });
  };
  return suit(config.blocks) && suit(config.art_blocks);
}

}  // namespace

EfficientNetLiteWeights ReadEfficientNetLite(Weights& weights, const EfficientNetLiteConfig& config,
                                             int dimension) {
  const std::string prefix = "vision_model.", art = prefix + "art_tail.", head = prefix + "head.";
  const size_t from = config.art_from_block, all = config.blocks.size();
  EfficientNetLiteWeights result;
  result.stem = ReadConv(weights, prefix + "stem", config.stem_channels, 3, config.stem_kernel);
  result.trunk = ReadBlocks(weights, prefix, config.blocks, 0, from);
  result.photo = {ReadBlocks(weights, prefix, config.blocks, from, all),
                  ReadConv(weights, prefix + "head_conv", config.head_conv_channels,
                           config.blocks.back().out_channels, 1)};
  result.art = {ReadBlocks(weights, art, config.art_blocks, 0, config.art_blocks.size()),
                ReadConv(weights, art + "head_conv", config.art_head_conv_channels,
                         config.art_blocks.back().out_channels, 1)};
  result.fc1 = ReadLinear(weights, head + "fc1", config.head_hidden, config.art_head_conv_channels);
  result.fc2 = ReadLinear(weights, head + "fc2", dimension, config.head_hidden);
  result.classifier =
      ReadLinear(weights, head + "classifier", config.num_classes, config.head_conv_channels);
  result.class_embedding = weights.Get(head + "class_embedding", {config.num_classes, dimension});
  return result;
}

EfficientNetLiteHead::EfficientNetLiteHead(const EfficientNetLiteConfig& config,
                                           const EfficientNetLiteWeights& weights,
                                           at::Device device)
    : temperature_(config.temperature),
      class_weight_(config.class_weight),
      class_embedding_(weights.class_embedding.to(device)) {
  for (const auto& [from, to] :
       {std::make_pair(&weights.fc1, &fc1_), std::make_pair(&weights.fc2, &fc2_),
        std::make_pair(&weights.classifier, &classifier_)})
    *to = {from->weight.to(device), from->bias.to(device)};
}

at::Tensor EfficientNetLiteHead::operator()(const at::Tensor& photo, const at::Tensor& art) const {
  const at::Tensor hidden = at::gelu(at::linear(art, fc1_.weight, fc1_.bias));
  const at::Tensor a = UnitLength(at::linear(hidden, fc2_.weight, fc2_.bias));
  const at::Tensor classes =
      at::softmax(at::linear(photo, classifier_.weight, classifier_.bias) / temperature_, -1);
  return (a + class_weight_ * classes.matmul(class_embedding_)).to(at::kCPU).contiguous();
}

uint64_t EfficientNetLiteHead::memory_bytes() const {
  return fc1_.weight.nbytes() + fc2_.weight.nbytes() + classifier_.weight.nbytes() +
         class_embedding_.nbytes();
}

std::unique_ptr<ImageTower> MakeEfficientNetLite(const EfficientNetLiteConfig& config,
                                                 const PixelConfig& pixels, int dimension,
                                                 Weights& weights, const Backend& backend) {
  const EfficientNetLiteWeights read = ReadEfficientNetLite(weights, config, dimension);
  if (!weights.readable()) return nullptr;
  if (PackedNumber(backend) && ChannelsSuitKernels(config)) {
    // Convolutions have no 8-bit path: they are wide beside the 8-bit text tower.
    return MakePackedEfficientNetLite(config, pixels, read, WideNumber(backend));
  }
  return MakeTorchEfficientNetLite(config, pixels, read, backend);
}

}  // namespace imagesearch::encoder
