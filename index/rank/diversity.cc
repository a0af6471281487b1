#include "index/rank/diversity.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "index/rank/inner_product.h"

namespace imagesearch::index {
namespace {

float Cosine(const RankedHit& a, const RankedHit& b) {
  const std::vector<float>& x = a.hit.vector;
  const std::vector<float>& y = b.hit.vector;
  return InnerProduct(x.data(), y.data(), std::min(x.size(), y.size()));
}

}  // namespace

absl::Status DiversityPass::Run(Ranking* ranking) {
  const size_t pool = std::min(ranking->hits.size(), kPool);
  if (diversity_ == 0 || pool < 3) return absl::OkStatus();
  const std::vector<RankedHit>& hits = ranking->hits;
  const double best = hits[0].order;
  const double range = std::max(best - hits[pool - 1].order, 1e-12);
  std::vector<float> similarity(pool);  // of each to the chosen one it is most like
  for (size_t i = 0; i < pool; ++i) similarity[i] = Cosine(hits[0], hits[i]);
  const float least = std::min(*std::min_element(similarity.begin(), similarity.end()), 0.999f);

  std::vector<size_t> order = {0};
  std::vector<bool> chosen(pool);
  chosen[0] = true;
  while (order.size() < pool) {
    size_t next = 0;
    double next_value = 0;
    for (size_t i = 1; i < pool; ++i) {
      if (chosen[i]) continue;
      const double relevance = 1 - (best - hits[i].order) / range;
      const double same = (similarity[i] - least) / (1 - least);
      const double value = (1 - diversity_) * relevance - diversity_ * same;
      if (next != 0 && value <= next_value) continue;
      next = i;
      next_value = value;
    }
    chosen[next] = true;
    order.push_back(next);
    for (size_t i = 1; i < pool; ++i) {
      if (!chosen[i]) similarity[i] = std::max(similarity[i], Cosine(hits[next], hits[i]));
    }
  }
  std::vector<RankedHit> reordered;
  reordered.reserve(ranking->hits.size());
  for (const size_t i : order) reordered.push_back(std::move(ranking->hits[i]));
  std::move(ranking->hits.begin() + pool, ranking->hits.end(), std::back_inserter(reordered));
  ranking->hits = std::move(reordered);
  return absl::OkStatus();
}

}  // namespace imagesearch::index
