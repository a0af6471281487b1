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
#ifndef IMAGESEARCH_ENCODER_CLIP_EFFICIENTNET_LITE_H_
#define IMAGESEARCH_ENCODER_CLIP_EFFICIENTNET_LITE_H_

#include <ATen/core/Tensor.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "encoder/clip/config.h"
#include "encoder/clip/image_tower.h"
#include "encoder/clip/weights.h"

namespace imagesearch::encoder {

// Tensors are fp32, or undefined as Weights::Get says; convolutions (outputs, inputs / groups,
// kernel, kernel) with a bias (outputs).
struct MobileBlockWeights {
  LinearWeights expand;  // undefined where the expand ratio is 1
  LinearWeights depthwise, project;
};

struct MobileTailWeights {
  std::vector<MobileBlockWeights> blocks;
  LinearWeights head_conv;
};

struct EfficientNetLiteWeights {
  LinearWeights stem;
  std::vector<MobileBlockWeights> trunk;  // the blocks before from_block
  MobileTailWeights photo, art;
  LinearWeights fc1, fc2, classifier;
  at::Tensor class_embedding;  // (classes, dimension)
};

EfficientNetLiteWeights ReadEfficientNetLite(Weights& weights, const EfficientNetLiteConfig& config,
                                             int dimension);

// TensorFlow's "same" padding along one side.
struct SamePadding {
  int64_t outputs, before, after;

  SamePadding(int64_t size, int kernel, int stride) : outputs((size + stride - 1) / stride) {
    const int64_t total = std::max<int64_t>((outputs - 1) * stride + kernel - size, 0);
    before = total / 2;
    after = total - before;
  }
};

// From both features to the embedding, in fp32.
class EfficientNetLiteHead {
 public:
  EfficientNetLiteHead(const EfficientNetLiteConfig& config, const EfficientNetLiteWeights& weights,
                       at::Device device);

  // photo, art: (n, channels) fp32 -> (n, dimension) fp32 on the CPU, contiguous
  at::Tensor operator()(const at::Tensor& photo, const at::Tensor& art) const;

  uint64_t memory_bytes() const;

 private:
  const double temperature_, class_weight_;
  LinearWeights fc1_, fc2_, classifier_;
  at::Tensor class_embedding_;
};

// LibTorch's own operators: the plain path.
std::unique_ptr<ImageTower> MakeTorchEfficientNetLite(const EfficientNetLiteConfig& config,
                                                      const PixelConfig& pixels,
                                                      const EfficientNetLiteWeights& weights,
                                                      const Backend& backend);

// This project's kernels, in fp32 or bf16; every channel count is a multiple of 4.
std::unique_ptr<ImageTower> MakePackedEfficientNetLite(const EfficientNetLiteConfig& config,
                                                       const PixelConfig& pixels,
                                                       const EfficientNetLiteWeights& weights,
                                                       kernels::Number number);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_CLIP_EFFICIENTNET_LITE_H_
