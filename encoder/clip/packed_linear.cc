// Packs weights, and splits products over threads.
#include "encoder/clip/packed_linear.h"

#include <algorithm>

namespace imagesearch::encoder {

PackedLinear::PackedLinear(const LinearWeights& weights, kernels::Number number) {
  view_.number = number;
  view_.outputs = weights.weight.size(0);
  view_.inputs = weights.weight.size(1);
  packed_.Reserve(kernels::PackedBytes(view_.outputs, view_.inputs, number));
  if (number == kernels::Number::kInt8) {
    scale_.resize(view_.outputs);
    sums_.resize(view_.outputs);
  }
  const at::Tensor weight = weights.weight.contiguous();
  kernels::PackWeights(weight.const_data_ptr<float>(), view_.outputs, view_.inputs, number,
                       packed_.data(), scale_.data(), sums_.data());
  if (weights.bias.defined()) {
    const float* bias = weights.bias.const_data_ptr<float>();
    bias_.assign(bias, bias + view_.outputs);
  }
  // Vectors keep their memory when the object moves.
  view_.packed = packed_.data();
  view_.bias = bias_.empty() ? nullptr : bias_.data();
  view_.scale = scale_.data();
  view_.sums = sums_.data();
}

uint64_t PackedLinear::memory_bytes() const {
  return packed_.size() + 4 * (bias_.size() + scale_.size() + sums_.size());
}

void PackedLinear::Multiply(Worker& me, const kernels::RowsView& rows,
                            const kernels::Sink& sink) const {
  const int64_t panels = (view_.outputs + kernels::kPanel - 1) / kernels::kPanel;
  // Panels are shared out, so that each weight is read by one thread only. Where they don't come
  // out even, rows are split too: the fewest parts that keep nine threads in ten at work.
  int64_t best_parts = 1;
  double best = 0;
  const int64_t most_parts = std::clamp<int64_t>(rows.rows / 6, 1, me.count());
  for (int64_t parts = 1; parts <= most_parts && best < 0.9; ++parts) {
    const int64_t tasks = panels * parts, each = (tasks + me.count() - 1) / me.count();
    const double used = static_cast<double>(tasks) / static_cast<double>(each * me.count());
    if (used > best) {
      best = used;
      best_parts = parts;
    }
  }
  me.Divide(panels * best_parts, 1, [&](int64_t begin, int64_t end) {
    for (int64_t task = begin; task < end;) {
      const int64_t part = task / panels, first = task % panels;
      const int64_t count = std::min(end - task, panels - first);
      kernels::Multiply(rows, view_, sink, rows.rows * part / best_parts,
                        rows.rows * (part + 1) / best_parts, first, first + count);
      task += count;
    }
  });
}

}  // namespace imagesearch::encoder
