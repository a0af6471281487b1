// Sampled and made-up queries.
#include "index/ann/sample_queries.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace imagesearch::index {
namespace {

// Lengths of a made-up text's parts: along the images' mean, towards its own image, noise; what is
// left to length 1 points in a direction that all texts share.
constexpr float kMeanPart = 0.283f;
constexpr float kOwnPart = 0.1f;
constexpr float kNoisePart = 0.616f;
constexpr int kRowsPerNoise = 64;  // rows whose random sum is noise shaped as the images are
// Noise that favours no direction, by length to noise shaped as the images are. More of it spreads
// the nearest images over more lists.
constexpr float kEvenNoise = 1.5f;

void AddScaled(const std::vector<float>& direction, float length, float* out) {
  double norm2 = 0;
  for (float x : direction) norm2 += static_cast<double>(x) * x;
  if (!(norm2 > 0)) return;
  const float factor = length / static_cast<float>(std::sqrt(norm2));
  for (size_t i = 0; i < direction.size(); ++i) out[i] += direction[i] * factor;
}

}  // namespace

std::vector<uint32_t> SampleRows(uint32_t rows, uint32_t count, uint64_t seed) {
  std::vector<uint32_t> all(rows);
  std::iota(all.begin(), all.end(), 0);
  std::mt19937_64 random(seed);
  count = std::min(count, rows);
  for (uint32_t i = 0; i < count; ++i) {
    std::swap(all[i], all[i + static_cast<uint32_t>(random() % (rows - i))]);
  }
  all.resize(count);
  return all;
}

std::vector<float> SyntheticTexts(const VectorSource& vectors, absl::Span<const float> mean,
                                  uint32_t count, uint64_t seed) {
  const size_t d = mean.size();
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal;
  const auto any_row = [&] {
    return vectors.Row(static_cast<uint32_t>(random() % vectors.rows()));
  };
  const auto even = [&] {
    std::vector<float> v(d);
    for (float& x : v) x = normal(random);
    return v;
  };
  const std::vector<float> common(mean.begin(), mean.end()), shared = even();
  const float shared_part =
      std::sqrt(1 - kMeanPart * kMeanPart - kOwnPart * kOwnPart - kNoisePart * kNoisePart);
  std::vector<float> texts(count * d, 0.0f);
  std::vector<float> own(d), shaped(d);
  for (uint32_t i = 0; i < count; ++i) {
    const float* image = any_row();
    for (size_t j = 0; j < d; ++j) own[j] = image[j] - mean[j];
    std::fill(shaped.begin(), shaped.end(), 0.0f);
    for (int r = 0; r < kRowsPerNoise; ++r) {
      const float* row = any_row();
      const float weight = normal(random);
      for (size_t j = 0; j < d; ++j) shaped[j] += weight * (row[j] - mean[j]);
    }
    std::vector<float> noise(d, 0.0f), text(d, 0.0f);
    AddScaled(shaped, 1, noise.data());
    AddScaled(even(), kEvenNoise, noise.data());
    AddScaled(common, kMeanPart, text.data());
    AddScaled(own, kOwnPart, text.data());
    AddScaled(noise, kNoisePart, text.data());
    AddScaled(shared, shared_part, text.data());
    AddScaled(text, 1, texts.data() + i * d);
  }
  return texts;
}

}  // namespace imagesearch::index
