// An image tower: pixels in, an embedding out. Two kinds, chosen by the checkpoint's configuration.
#ifndef IMAGESEARCH_ENCODER_CLIP_IMAGE_TOWER_H_
#define IMAGESEARCH_ENCODER_CLIP_IMAGE_TOWER_H_

#include <ATen/core/Tensor.h>
#include <c10/util/BFloat16.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "encoder/clip/config.h"
#include "encoder/clip/precision.h"
#include "encoder/clip/weights.h"

namespace imagesearch::encoder {

// One caller at a time.
class ImageTower {
 public:
  virtual ~ImageTower() = default;

  // Each image: image_size^2 * 3 RGB bytes, rows top-down. -> (images, dimension) fp32 on the CPU,
  // contiguous, not yet of length 1.
  virtual at::Tensor Embed(const std::vector<const uint8_t*>& images) = 0;

  virtual uint64_t memory_bytes() const = 0;  // of the weights as held
};

// In check mode of `weights` these only check, and return null.
std::unique_ptr<ImageTower> MakeVit(const VitConfig& config, const PixelConfig& pixels,
                                    int dimension, ClipConfig::Names names, Weights& weights,
                                    const Backend& backend);
std::unique_ptr<ImageTower> MakeEfficientNetLite(const EfficientNetLiteConfig& config,
                                                 const PixelConfig& pixels, int dimension,
                                                 Weights& weights, const Backend& backend);

// Bytes to normalised floats by table: (byte * scale - mean[c]) / std[c].
class PixelTable {
 public:
  explicit PixelTable(const PixelConfig& config);
  // images -> (images, side, side, 3) fp32
  at::Tensor Normalise(const std::vector<const uint8_t*>& images, int side) const;
  // One pixel's 3 bytes -> 3 values of kFp32 or kBf16.
  void Write(const uint8_t* rgb, kernels::Number number, uint8_t* to) const {
    for (int c = 0; c < 3; ++c) {
      if (number == kernels::Number::kFp32) {
        std::memcpy(to + 4 * c, &table_[c][rgb[c]], 4);
      } else {
        std::memcpy(to + 2 * c, &bf16_[c][rgb[c]], 2);
      }
    }
  }

 private:
  float table_[3][256];
  c10::BFloat16 bf16_[3][256];
};

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_CLIP_IMAGE_TOWER_H_
