// What both image towers share.
#include "encoder/clip/image_tower.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

namespace imagesearch::encoder {

PixelTable::PixelTable(const PixelConfig& config) {
  for (int c = 0; c < 3; ++c) {
    for (int byte = 0; byte < 256; ++byte) {
      table_[c][byte] = static_cast<float>((byte * config.scale - config.mean[c]) / config.std[c]);
      bf16_[c][byte] = table_[c][byte];
    }
  }
}

at::Tensor PixelTable::Normalise(const std::vector<const uint8_t*>& images, int side) const {
  const int64_t count = static_cast<int64_t>(images.size()), row = int64_t{3} * side;
  at::Tensor result = at::empty({count, side, side, 3}, at::TensorOptions().dtype(at::kFloat));
  float* const out = result.data_ptr<float>();
  at::parallel_for(0, count * side, 64, [&](int64_t begin, int64_t end) {
    for (int64_t line = begin; line < end; ++line) {
      const uint8_t* from = images[line / side] + line % side * row;
      float* to = out + line * row;
      for (int64_t i = 0; i < row; i += 3) {
        to[i] = table_[0][from[i]];
        to[i + 1] = table_[1][from[i + 1]];
        to[i + 2] = table_[2][from[i + 2]];
      }
    }
  });
  return result;
}

}  // namespace imagesearch::encoder
