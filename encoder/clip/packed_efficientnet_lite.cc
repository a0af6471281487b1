// EfficientNet-Lite on this project's own AVX-512 kernels. Pixels are rows of channels (NHWC), so a
// 1x1 convolution is a matrix product with packed weights; the stem becomes one too.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <omp.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "encoder/clip/aligned_buffer.h"
#include "encoder/clip/efficientnet_lite.h"
#include "encoder/clip/packed_linear.h"

namespace imagesearch::encoder {
namespace {

using kernels::Number;

// Waits for the team, if there is one.
void Barrier(const Worker& me) {
  if (me.count() == 1) return;
#pragma omp barrier
}

// (outputs, inputs, kernel, kernel) -> (outputs, inputs * kernel * kernel padded to 4), with the
// channels innermost.
LinearWeights AsMatrix(const LinearWeights& conv) {
  const at::Tensor flat = conv.weight.permute({0, 2, 3, 1}).reshape({conv.weight.size(0), -1});
  const int64_t inputs = flat.size(1), padded = (inputs + 3) / 4 * 4;
  at::Tensor matrix = at::empty({flat.size(0), padded}, flat.options());
  matrix.zero_();
  matrix.narrow(1, 0, inputs).copy_(flat);
  return {matrix, conv.bias};
}

struct PackedBlock {
  PackedBlock(const MobileBlockConfig& config, const MobileBlockWeights& weights, Number number)
      : config(config),
        // (channels, 1, k, k) -> (k, k, channels)
        depthwise(weights.depthwise.weight.permute({2, 3, 0, 1}).contiguous()),
        depthwise_bias(weights.depthwise.bias),
        project(AsMatrix(weights.project), number) {
    if (weights.expand.weight.defined()) expand.emplace_back(AsMatrix(weights.expand), number);
  }

  MobileBlockConfig config;
  std::vector<PackedLinear> expand;  // one or none
  at::Tensor depthwise, depthwise_bias;
  PackedLinear project;
};

struct PackedTail {
  std::vector<PackedBlock> blocks;
  PackedLinear head_conv;
};

// What one image needs while it runs.
struct Workspace {
  AlignedBuffer now, next;             // the states between blocks
  AlignedBuffer trunk;                 // the trunk's result, which both tails start from
  AlignedBuffer wide, deep;            // inside a block
  AlignedBuffer pooled;                // before the mean
  std::vector<AlignedBuffer> patches;  // one output row of the stem, for each worker
};

class PackedEfficientNetLite : public ImageTower {
 public:
  PackedEfficientNetLite(const EfficientNetLiteConfig& config, const PixelConfig& pixels,
                         const EfficientNetLiteWeights& weights, Number number)
      : config_(config),
        number_(number),
        table_(pixels),
        stem_(AsMatrix(weights.stem), number),
        trunk_(Pack(weights.trunk, config.blocks.data(), number)),
        photo_{Pack(weights.photo.blocks, config.blocks.data() + config.art_from_block, number),
               PackedLinear(AsMatrix(weights.photo.head_conv), number)},
        art_{Pack(weights.art.blocks, config.art_blocks.data(), number),
             PackedLinear(AsMatrix(weights.art.head_conv), number)},
        head_(config, weights, at::kCPU) {
    memory_bytes_ = head_.memory_bytes() + stem_.memory_bytes() + photo_.head_conv.memory_bytes() +
                    art_.head_conv.memory_bytes();
    for (const std::vector<PackedBlock>* blocks : {&trunk_, &photo_.blocks, &art_.blocks}) {
      for (const PackedBlock& block : *blocks) {
        for (const PackedLinear& expand : block.expand) memory_bytes_ += expand.memory_bytes();
        memory_bytes_ += block.depthwise.nbytes() + block.project.memory_bytes();
      }
    }
    MeasureBuffers();
  }

  at::Tensor Embed(const std::vector<const uint8_t*>& images) override {
    const int64_t count = static_cast<int64_t>(images.size());
    const int threads = at::get_num_threads();
    const auto options = at::TensorOptions().dtype(at::kFloat);
    at::Tensor photo = at::empty({count, photo_.head_conv.outputs()}, options);
    at::Tensor art = at::empty({count, art_.head_conv.outputs()}, options);
    float* const photo_rows = photo.data_ptr<float>();
    float* const art_rows = art.data_ptr<float>();
    workspaces_.resize(std::max<size_t>(workspaces_.size(), threads));
    for (Workspace& workspace : workspaces_) Reserve(workspace, threads);
    const auto features = [&](Worker& me, int64_t image, Workspace& workspace) {
      Features(me, images[image], workspace, photo_rows + image * photo_.head_conv.outputs(),
               art_rows + image * art_.head_conv.outputs());
    };
    // Each thread takes whole images as long as there is one for all; the team shares the rest.
    const int64_t alone = count / threads * threads;
    claims_.Reserve(threads);
#pragma omp parallel num_threads(threads)
    {
      Worker me(omp_get_thread_num(), omp_get_num_threads(), &claims_, phase_);
      me.Divide(alone, 1, [&](int64_t begin, int64_t end) {
        Worker one;
        for (int64_t image = begin; image < end; ++image)
          features(one, image, workspaces_[me.index()]);
      });
#pragma omp barrier
      for (int64_t image = alone; image < count; ++image) features(me, image, workspaces_[0]);
      if (me.index() == 0) phase_ = me.phase();
    }
    return head_(photo, art);
  }

  uint64_t memory_bytes() const override { return memory_bytes_; }

 private:
  static std::vector<PackedBlock> Pack(const std::vector<MobileBlockWeights>& weights,
                                       const MobileBlockConfig* configs, Number number) {
    std::vector<PackedBlock> blocks;
    for (size_t i = 0; i < weights.size(); ++i) blocks.emplace_back(configs[i], weights[i], number);
    return blocks;
  }

  // The largest size of each buffer over the whole network, in values.
  void MeasureBuffers() {
    const int64_t side =
        SamePadding(config_.image_size, config_.stem_kernel, config_.stem_stride).outputs;
    states_ = side * side * config_.stem_channels;
    const int64_t trunk_side = MeasureBlocks(trunk_, side);
    for (const PackedTail* tail : {&photo_, &art_}) {
      const int64_t last = MeasureBlocks(tail->blocks, trunk_side);
      pooled_ = std::max(pooled_, last * last * tail->head_conv.outputs());
    }
  }
  int64_t MeasureBlocks(const std::vector<PackedBlock>& blocks, int64_t side) {
    for (const PackedBlock& block : blocks) {
      const int64_t channels = block.project.inputs();
      wide_ = std::max(wide_, side * side * channels);
      side = SamePadding(side, block.config.kernel, block.config.stride).outputs;
      deep_ = std::max(deep_, side * side * channels);
      states_ = std::max(states_, side * side * block.project.outputs());
    }
    return side;
  }

  void Reserve(Workspace& workspace, int threads) const {
    const int64_t item = BytesOf(number_);
    for (AlignedBuffer* buffer : {&workspace.now, &workspace.next, &workspace.trunk})
      buffer->Reserve(states_ * item);
    workspace.wide.Reserve(wide_ * item);
    workspace.deep.Reserve(deep_ * item);
    workspace.pooled.Reserve(pooled_ * sizeof(float));
    workspace.patches.resize(std::max<size_t>(workspace.patches.size(), threads));
    const int64_t row =
        SamePadding(config_.image_size, config_.stem_kernel, config_.stem_stride).outputs;
    for (AlignedBuffer& patches : workspace.patches) patches.Reserve(row * stem_.inputs() * item);
  }

  void Features(Worker& me, const uint8_t* image, Workspace& workspace, float* photo, float* art) {
    int64_t side = Stem(me, image, workspace);
    for (const PackedBlock& block : trunk_) side = Block(me, block, side, workspace);
    if (me.index() == 0) std::swap(workspace.now, workspace.trunk);
    Barrier(me);
    Tail(me, photo_, side, workspace, photo);
    Tail(me, art_, side, workspace, art);
  }

  // Into workspace.now; returns the side of the result.
  int64_t Stem(Worker& me, const uint8_t* image, Workspace& workspace) {
    const int64_t size = config_.image_size, kernel = config_.stem_kernel,
                  stride = config_.stem_stride;
    const SamePadding padding(size, config_.stem_kernel, config_.stem_stride);
    const int64_t side = padding.outputs, inputs = stem_.inputs(), item = BytesOf(number_);
    uint8_t* const patches = workspace.patches[me.index()].data();
    kernels::RowsView view;
    view.data = patches;
    view.rows = side;
    view.stride = inputs * item;
    const auto [begin, end] = me.Share(side);
    for (int64_t y = begin; y < end; ++y) {
      std::memset(patches, 0, side * inputs * item);
      for (int64_t x = 0; x < side; ++x) {
        for (int64_t ky = 0; ky < kernel; ++ky) {
          const int64_t from_y = y * stride - padding.before + ky;
          if (from_y < 0 || from_y >= size) continue;
          for (int64_t kx = 0; kx < kernel; ++kx) {
            const int64_t from_x = x * stride - padding.before + kx;
            if (from_x < 0 || from_x >= size) continue;
            const int64_t at = x * inputs + (ky * kernel + kx) * 3;
            table_.Write(image + (from_y * size + from_x) * 3, number_, patches + at * item);
          }
        }
      }
      kernels::Sink sink = Into(workspace.now, y * side * stem_.outputs(), stem_.outputs());
      sink.function = kernels::Function::kRelu6;
      Worker one;
      stem_.Multiply(one, view, sink);
    }
    Barrier(me);
    return side;
  }

  // workspace.now -> workspace.now; returns the side of the result.
  int64_t Block(Worker& me, const PackedBlock& block, int64_t side, Workspace& workspace) {
    AlignedBuffer& wide = block.expand.empty() ? workspace.now : workspace.wide;
    for (const PackedLinear& expand : block.expand)
      Convolve(me, expand, workspace.now, side, kernels::Function::kRelu6,
               Into(workspace.wide, 0, expand.outputs()));
    const SamePadding padding(side, block.config.kernel, block.config.stride);
    kernels::Depthwise depthwise;
    depthwise.number = number_;
    depthwise.side = side;
    depthwise.outputs = padding.outputs;
    depthwise.before = padding.before;
    depthwise.kernel = block.config.kernel;
    depthwise.stride = block.config.stride;
    depthwise.channels = block.project.inputs();
    depthwise.weight = block.depthwise.const_data_ptr<float>();
    depthwise.bias = block.depthwise_bias.const_data_ptr<float>();
    depthwise.input = wide.data();
    depthwise.output = workspace.deep.data();
    const auto [begin, end] = me.Share(padding.outputs);
    kernels::ConvolveDepthwise(depthwise, begin, end);
    Barrier(me);
    kernels::Sink sink =
        Into(block.config.residual ? workspace.now : workspace.next, 0, block.project.outputs());
    sink.add = block.config.residual;
    Convolve(me, block.project, workspace.deep, padding.outputs, kernels::Function::kNone, sink);
    if (!block.config.residual) {
      if (me.index() == 0) std::swap(workspace.now, workspace.next);
      Barrier(me);
    }
    return padding.outputs;
  }

  // From a copy of workspace.trunk to the mean over the pixels.
  void Tail(Worker& me, const PackedTail& tail, int64_t side, Workspace& workspace, float* mean) {
    const int64_t bytes = side * side * tail.blocks.front().config.in_channels * BytesOf(number_);
    const auto [begin, end] = me.Share(bytes);
    std::copy(workspace.trunk.data() + begin, workspace.trunk.data() + end,
              workspace.now.data() + begin);
    Barrier(me);
    for (const PackedBlock& block : tail.blocks) side = Block(me, block, side, workspace);
    const int64_t channels = tail.head_conv.outputs(), pixels = side * side;
    kernels::Sink sink;
    sink.fp32 = workspace.pooled.as<float>();
    sink.stride = channels;
    Convolve(me, tail.head_conv, workspace.now, side, kernels::Function::kRelu6, sink);
    const auto [first, last] = me.Share(channels);
    std::fill(mean + first, mean + last, 0.0f);
    for (int64_t pixel = 0; pixel < pixels; ++pixel) {
      const float* row = workspace.pooled.as<float>() + pixel * channels;
      for (int64_t c = first; c < last; ++c) mean[c] += row[c];
    }
    for (int64_t c = first; c < last; ++c) mean[c] /= static_cast<float>(pixels);
    Barrier(me);
  }

  // A 1x1 convolution over side * side pixels, and a barrier.
  void Convolve(Worker& me, const PackedLinear& linear, const AlignedBuffer& from, int64_t side,
                kernels::Function function, kernels::Sink sink) const {
    kernels::RowsView view;
    view.data = from.data();
    view.rows = side * side;
    view.stride = linear.inputs() * BytesOf(number_);
    sink.function = function;
    linear.Multiply(me, view, sink);
    Barrier(me);
  }

  kernels::Sink Into(const AlignedBuffer& buffer, int64_t offset, int64_t stride) const {
    kernels::Sink sink;
    sink.stride = stride;
    if (number_ == Number::kFp32) {
      sink.fp32 = buffer.as<float>() + offset;
    } else {
      sink.bf16 = buffer.as<uint16_t>() + offset;
    }
    return sink;
  }

  const EfficientNetLiteConfig config_;
  const Number number_;
  const PixelTable table_;
  const PackedLinear stem_;
  const std::vector<PackedBlock> trunk_;
  const PackedTail photo_, art_;
  const EfficientNetLiteHead head_;
  uint64_t memory_bytes_ = 0;
  int64_t states_ = 0, wide_ = 0, deep_ = 0, pooled_ = 0;
  Claims claims_;
  uint16_t phase_ = 0;  // of claims_, at the end of the last Embed
  std::vector<Workspace> workspaces_;
};

}  // namespace

std::unique_ptr<ImageTower> MakePackedEfficientNetLite(const EfficientNetLiteConfig& config,
                                                       const PixelConfig& pixels,
                                                       const EfficientNetLiteWeights& weights,
                                                       Number number) {
  return std::make_unique<PackedEfficientNetLite>(config, pixels, weights, number);
}

}  // namespace imagesearch::encoder
