// Times at powers of two, with lines between them.
#include "encoder/batch_cost_model.h"

#include <algorithm>
#include <bit>
#include <chrono>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <utility>

namespace imagesearch::encoder {
namespace {

constexpr double kLearningRate = 0.1;
constexpr double kNearlyBest = 1.03;
constexpr double kLongestBatch = 6.0;  // in single images

double TimeOf(Encoder& encoder, const Prepared& item, int size) {
  const std::vector<const Prepared*> batch(static_cast<size_t>(size), &item);
  const auto start = std::chrono::steady_clock::now();
  encoder.Embed(batch);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

int IndexAtMost(int size) { return std::bit_width(static_cast<unsigned>(size)) - 1; }

}  // namespace

BatchCostModel::BatchCostModel(int max_images, int max_texts) {
  curve(Input::Kind::kImage).largest = std::max(max_images, 1);
  curve(Input::Kind::kText).largest = std::max(max_texts, 1);
  for (Curve& curve : curves_) curve.seconds.assign(IndexAtMost(curve.largest) + 1, -1);
}

void BatchCostModel::Measure(Encoder& encoder, absl::Duration budget) {
  Prepared image;
  image.kind = Input::Kind::kImage;
  const auto side = static_cast<size_t>(encoder.model().image_size);
  image.pixels.assign(3 * side * side, 128);
  const absl::StatusOr<Prepared> text = encoder.Prepare(Input::Text("a photo of a cat on a chair"));
  for (const Prepared* item :
       std::initializer_list<const Prepared*>{text.ok() ? &*text : nullptr, &image}) {
    if (item == nullptr) continue;
    const double room = absl::ToDoubleSeconds(budget) / 2;
    double spent = TimeOf(encoder, *item, 1);  // warms up
    Curve& costs = curve(item->kind);
    costs.seconds[0] = spent;
    if (2 * spent < room) {
      costs.seconds[0] = TimeOf(encoder, *item, 1);
      spent += costs.seconds[0];
    }
    if (item == &image) quiet_image_ = costs.seconds[0];
    for (size_t i = 1; i < costs.seconds.size() && spent + 2 * costs.seconds[i - 1] < room; ++i) {
      costs.seconds[i] = TimeOf(encoder, *item, 1 << i);
      spent += costs.seconds[i];
    }
  }
}

void BatchCostModel::Observe(Input::Kind kind, int size, double seconds) {
  Curve& costs = curve(kind);
  const int index = IndexAtMost(std::clamp(size, 1, costs.largest));
  if (index >= static_cast<int>(costs.seconds.size())) return;
  // The nearest power of two below learns, as if its batch had taken its share of the time.
  const double known = Seconds(kind, size);
  double& entry = costs.seconds[static_cast<size_t>(index)];
  const double share = seconds * (1 << index) / size;
  if (entry < 0 || known <= 0) {
    entry = share;
  } else {
    entry *= 1 + kLearningRate * (std::min(seconds / known, 4.0) - 1);
  }
}

void BatchCostModel::LimitSize(Input::Kind kind, int largest) {
  Curve& costs = curve(kind);
  costs.largest = std::min(costs.largest, std::max(largest, 1));
}

double BatchCostModel::Seconds(Input::Kind kind, int size) const {
  const std::vector<double>& seconds = curve(kind).seconds;
  double below = 0, above = 0;
  int below_size = 0, above_size = 0;
  for (size_t i = 0; i < seconds.size(); ++i) {
    if (seconds[i] < 0) continue;
    if ((1 << i) <= size) {
      below = seconds[i];
      below_size = 1 << i;
    } else if (above_size == 0) {
      above = seconds[i];
      above_size = 1 << i;
    }
  }
  if (below_size == 0) return above_size == 0 ? 0 : above * size / above_size;
  if (above_size == 0) return below * size / below_size;
  return below + (above - below) * (size - below_size) / (above_size - below_size);
}

int BatchCostModel::BestSize(Input::Kind kind) const {
  const Curve& costs = curve(kind);
  if (Seconds(kind, 1) <= 0) return costs.largest;
  // Beside the decoding of the next, which is how one image alone runs under load, it takes longer.
  double one_image = Seconds(Input::Kind::kImage, 1);
  if (quiet_image_ > 0) one_image = std::min(one_image, quiet_image_);
  const double longest =
      one_image > 0 ? kLongestBatch * one_image : std::numeric_limits<double>::infinity();
  std::vector<std::pair<int, double>> candidates;  // size, seconds for each item
  double best = std::numeric_limits<double>::infinity();
  bool known = true;  // of the last candidate
  for (int i = 0; 1 << i <= costs.largest; ++i) {
    const double seconds = Seconds(kind, 1 << i);
    if (i > 0 && seconds > longest) break;
    known = costs.seconds[static_cast<size_t>(i)] >= 0;
    candidates.emplace_back(1 << i, seconds / (1 << i));
    best = std::min(best, candidates.back().second);
  }
  if (!known) return candidates.back().first;
  for (const auto& [size, each] : candidates) {
    if (each <= kNearlyBest * best) return size;
  }
  return candidates.back().first;
}

}  // namespace imagesearch::encoder
