#include "encoder/image/perceptual_hash.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "encoder/image/resize.h"

namespace imagesearch::encoder {
namespace {

constexpr int kSide = 32;
constexpr int kKept = 8;  // frequencies 1 to 8 each way

// cos(pi (2x + 1) u / 64) for u = 1 to 8.
const std::array<std::array<double, kSide>, kKept>& Cosines() {
  static const auto* cosines = [] {
    auto* made = new std::array<std::array<double, kSide>, kKept>();
    for (int u = 0; u < kKept; ++u) {
      for (int x = 0; x < kSide; ++x) {
        (*made)[u][x] = std::cos(std::acos(-1.0) * (2 * x + 1) * (u + 1) / (2 * kSide));
      }
    }
    return made;
  }();
  return *cosines;
}

// A cosine of one grey level's amplitude has a coefficient of (kSide / 2)^2.
constexpr double kFaintest = 1.0 * (kSide / 2) * (kSide / 2);

}  // namespace

std::optional<uint64_t> PerceptualHash(const RgbView& upright) {
  const RgbImage small =
      ResizeWindow(upright, kSide, kSide, Resample::kBilinear, {0, 0, kSide, kSide});
  const auto& cosines = Cosines();
  std::array<std::array<double, kSide>, kKept> columns{};  // transformed along y
  for (int y = 0; y < kSide; ++y) {
    const uint8_t* row = small.data.data() + size_t{3} * kSide * y;
    for (int x = 0; x < kSide; ++x) {
      const double luma = 0.299 * row[3 * x] + 0.587 * row[3 * x + 1] + 0.114 * row[3 * x + 2];
      for (int v = 0; v < kKept; ++v) columns[v][x] += cosines[v][y] * luma;
    }
  }
  std::array<double, kKept * kKept> coefficients{};
  double strongest = 0;
  for (int v = 0; v < kKept; ++v) {
    for (int u = 0; u < kKept; ++u) {
      double& sum = coefficients[v * kKept + u];
      for (int x = 0; x < kSide; ++x) sum += cosines[u][x] * columns[v][x];
      strongest = std::max(strongest, std::abs(sum));
    }
  }
  if (strongest < kFaintest) return std::nullopt;
  std::array<double, kKept* kKept> sorted = coefficients;
  std::sort(sorted.begin(), sorted.end());
  const double median = (sorted[31] + sorted[32]) / 2;
  uint64_t hash = 0;
  for (int i = 0; i < kKept * kKept; ++i) {
    if (coefficients[i] > median) hash |= uint64_t{1} << i;
  }
  return hash;
}

}  // namespace imagesearch::encoder
