// EfficientNet-Lite in LibTorch's own operators.
#include <ATen/TensorOperators.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/conv2d.h>
#include <ATen/ops/hardtanh.h>

#include <utility>

#include "encoder/clip/efficientnet_lite.h"

namespace imagesearch::encoder {
namespace {

at::Tensor Relu6(const at::Tensor& x) { return at::hardtanh(x, 0, 6); }

// With "same" padding.
at::Tensor Convolve(at::Tensor x, const LinearWeights& conv, int stride, int64_t groups = 1) {
  const int kernel = static_cast<int>(conv.weight.size(2));
  const SamePadding high(x.size(2), kernel, stride), wide(x.size(3), kernel, stride);
  if (high.before == high.after && wide.before == wide.after) {
    return at::conv2d(x, conv.weight, conv.bias, {stride, stride},
                      at::IntArrayRef({high.before, wide.before}), {1, 1}, groups);
  }
  x = at::constant_pad_nd(x, {wide.before, wide.after, high.before, high.after});
  return at::conv2d(x, conv.weight, conv.bias, {stride, stride}, at::IntArrayRef({0, 0}), {1, 1},
                    groups);
}

at::Tensor Block(const at::Tensor& x, const MobileBlockWeights& block,
                 const MobileBlockConfig& config) {
  const at::Tensor wide = block.expand.weight.defined() ? Relu6(Convolve(x, block.expand, 1)) : x;
  const at::Tensor deep = Relu6(Convolve(wide, block.depthwise, config.stride, wide.size(1)));
  const at::Tensor y = Convolve(deep, block.project, 1);
  return config.residual ? x + y : y;
}

class TorchEfficientNetLite : public ImageTower {
 public:
  TorchEfficientNetLite(const EfficientNetLiteConfig& config, const PixelConfig& pixels,
                        const EfficientNetLiteWeights& weights, const Backend& backend)
      : config_(config),
        table_(pixels),
        device_(backend.device),
        type_(backend.type()),
        head_(config, weights, backend.device) {
    stem_ = Keep(weights.stem);
    trunk_ = Keep(weights.trunk);
    photo_ = {Keep(weights.photo.blocks), Keep(weights.photo.head_conv)};
    art_ = {Keep(weights.art.blocks), Keep(weights.art.head_conv)};
    memory_bytes_ += head_.memory_bytes();
  }

  at::Tensor Embed(const std::vector<const uint8_t*>& images) override {
    // NHWC in memory is channels-last to LibTorch.
    at::Tensor x =
        table_.Normalise(images, config_.image_size).permute({0, 3, 1, 2}).to(device_, type_);
    x = Relu6(Convolve(x, stem_, config_.stem_stride));
    for (size_t i = 0; i < trunk_.size(); ++i) x = Block(x, trunk_[i], config_.blocks[i]);
    return head_(Tail(x, photo_, config_.blocks.data() + config_.art_from_block),
                 Tail(x, art_, config_.art_blocks.data()));
  }

  uint64_t memory_bytes() const override { return memory_bytes_; }

 private:
  LinearWeights Keep(const LinearWeights& conv) {
    if (!conv.weight.defined()) return {};
    const LinearWeights kept = {
        conv.weight.to(device_, type_).contiguous(at::MemoryFormat::ChannelsLast),
        conv.bias.to(device_, type_)};
    memory_bytes_ += kept.weight.nbytes() + kept.bias.nbytes();
    return kept;
  }

  std::vector<MobileBlockWeights> Keep(const std::vector<MobileBlockWeights>& blocks) {
    std::vector<MobileBlockWeights> kept;
    for (const MobileBlockWeights& block : blocks)
      kept.push_back({Keep(block.expand), Keep(block.depthwise), Keep(block.project)});
    return kept;
  }

  // (n, c, h, w) -> (n, head channels) fp32
  static at::Tensor Tail(at::Tensor x, const MobileTailWeights& tail,
                         const MobileBlockConfig* configs) {
    for (size_t i = 0; i < tail.blocks.size(); ++i) x = Block(x, tail.blocks[i], configs[i]);
    return Relu6(Convolve(x, tail.head_conv, 1)).to(at::kFloat).mean({2, 3});
  }

  const EfficientNetLiteConfig config_;
  const PixelTable table_;
  const at::Device device_;
  const at::ScalarType type_;
  const EfficientNetLiteHead head_;
  LinearWeights stem_;
  std::vector<MobileBlockWeights> trunk_;
  MobileTailWeights photo_, art_;
  uint64_t memory_bytes_ = 0;
};

}  // namespace

std::unique_ptr<ImageTower> MakeTorchEfficientNetLite(const EfficientNetLiteConfig& config,
                                                      const PixelConfig& pixels,
                                                      const EfficientNetLiteWeights& weights,
                                                      const Backend& backend) {
  return std::make_unique<TorchEfficientNetLite>(config, pixels, weights, backend);
}

}  // namespace imagesearch::encoder
