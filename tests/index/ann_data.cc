// CLIP-like vectors and the plain search over them.
#include "tests/index/ann_data.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace imagesearch::index::testing {
namespace {

class Generator {
 public:
  explicit Generator(const ClipLikeOptions& options)
      : options_(options), random_(options.seed), spectrum_(options.dimension) {
    double length2 = 0;
    for (int i = 0; i < options.dimension; ++i) {
      spectrum_[i] = std::pow(static_cast<float>(i + 1), -options.spectrum);
      length2 += static_cast<double>(spectrum_[i]) * spectrum_[i];
    }
    for (float& s : spectrum_) s /= static_cast<float>(std::sqrt(length2));
    // Coordinates carry the spectrum in an order of their own: no axis is special by its number.
    std::shuffle(spectrum_.begin(), spectrum_.end(), random_);
  }

  std::vector<float> Even() { return Draw(std::vector<float>(options_.dimension, 1.0f)); }
  std::vector<float> Spectral() { return Draw(spectrum_); }
  std::mt19937_64& random() { return random_; }

 private:
  std::vector<float> Draw(const std::vector<float>& amplitudes) {
    std::vector<float> v(options_.dimension);
    double length2 = 0;
    for (int i = 0; i < options_.dimension; ++i) {
      v[i] = normal_(random_) * amplitudes[i];
      length2 += static_cast<double>(v[i]) * v[i];
    }
    const float inverse = static_cast<float>(1 / std::sqrt(length2));
    for (float& x : v) x *= inverse;
    return v;
  }

  const ClipLikeOptions& options_;
  std::mt19937_64 random_;
  std::vector<float> spectrum_;
  std::normal_distribution<float> normal_;
};

void Normalise(float* v, int d) {
  double length2 = 0;
  for (int i = 0; i < d; ++i) length2 += static_cast<double>(v[i]) * v[i];
  const float inverse = static_cast<float>(1 / std::sqrt(length2));
  for (int i = 0; i < d; ++i) v[i] *= inverse;
}

}  // namespace

ClipLikeData MakeClipLike(const ClipLikeOptions& o) {
  Generator generator(o);
  const int d = o.dimension;
  ClipLikeData data;
  data.dimension = d;
  const std::vector<float> mean = generator.Even();
  std::vector<float> text_mean = generator.Even();
  for (int i = 0; i < d; ++i) {
    text_mean[i] = 0.365f * mean[i] + std::sqrt(1 - 0.365f * 0.365f) * text_mean[i];
  }
  Normalise(text_mean.data(), d);
  std::vector<std::vector<float>> centres;
  std::vector<double> weights;
  std::exponential_distribution<double> weight;
  for (uint32_t i = 0; i < o.clusters; ++i) {
    centres.push_back(generator.Spectral());
    weights.push_back(weight(generator.random()));
  }
  std::discrete_distribution<uint32_t> cluster(weights.begin(), weights.end());

  const auto images = [&](uint32_t n) {
    std::vector<float> out(static_cast<size_t>(n) * d);
    for (uint32_t i = 0; i < n; ++i) {
      float* x = out.data() + static_cast<size_t>(i) * d;
      const std::vector<float>& centre = centres[cluster(generator.random())];
      const std::vector<float> noise = generator.Spectral();
      for (int j = 0; j < d; ++j) {
        x[j] = std::sqrt(o.mean_part) * mean[j] + std::sqrt(o.cluster_part) * centre[j] +
               std::sqrt(1 - o.mean_part - o.cluster_part) * noise[j];
      }
      Normalise(x, d);
    }
    return out;
  };
  data.images = images(o.images);
  data.image_queries = images(o.queries);
  std::uniform_int_distribution<uint32_t> any(0, o.images - 1);
  const auto texts = [&](uint32_t n) {
    std::vector<float> out(static_cast<size_t>(n) * d);
    std::vector<float> own(d), noise(d);
    const float shared = std::sqrt(std::max(0.0f, 1 - o.text_noise - o.text_own * o.text_own));
    for (uint32_t i = 0; i < n; ++i) {
      const float* image = data.images.data() + static_cast<size_t>(any(generator.random())) * d;
      for (int j = 0; j < d; ++j) own[j] = image[j] - std::sqrt(o.mean_part) * mean[j];
      Normalise(own.data(), d);
      const std::vector<float> spectral = generator.Spectral(), even = generator.Even();
      for (int j = 0; j < d; ++j) noise[j] = spectral[j] + even[j];
      Normalise(noise.data(), d);
      float* q = out.data() + static_cast<size_t>(i) * d;
      for (int j = 0; j < d; ++j) {
        q[j] = shared * text_mean[j] + o.text_own * own[j] + std::sqrt(o.text_noise) * noise[j];
      }
      Normalise(q, d);
    }
    return out;
  };
  data.text_queries = texts(o.queries);
  data.text_sample = texts(o.queries);
  return data;
}

std::vector<Neighbor> PlainSearch(const VectorSource& vectors, const AnnQuery& query) {
  std::vector<Neighbor> all;
  for (uint32_t i = 0; i < vectors.rows(); ++i) {
    if (!query.mask.Allows(i)) continue;
    double sum = 0;
    for (int j = 0; j < vectors.dimension(); ++j) {
      sum += static_cast<double>(query.vector[j]) * vectors.Row(i)[j];
    }
    all.push_back({static_cast<float>(sum), i});
  }
  const size_t k = std::min(all.size(), static_cast<size_t>(query.k));
  std::partial_sort(all.begin(), all.begin() + static_cast<ptrdiff_t>(k), all.end());
  all.resize(k);
  return all;
}

double Recall(const std::vector<Neighbor>& found, const std::vector<Neighbor>& truth) {
  if (truth.empty()) return 1;
  size_t hits = 0;
  for (const Neighbor& t : truth) {
    hits +=
        std::any_of(found.begin(), found.end(), [&](const Neighbor& f) { return f.row == t.row; });
  }
  return static_cast<double>(hits) / static_cast<double>(truth.size());
}

}  // namespace imagesearch::index::testing
