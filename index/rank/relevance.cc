#include "index/rank/relevance.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "index/rank/inner_product.h"

namespace imagesearch::index {
namespace {

constexpr double kTailShare = 0.1;
// Standard normal quantile of 0.9: makes the scale a standard deviation where scores are normal.
constexpr double kNormalQuantile = 1.2815515655446004;
// Sampled images that are taken as queries to learn what is usual.
constexpr size_t kCohort = 48;
// Keeps the fit finite where all scores are equal.
constexpr double kLeastScale = 1e-5;

double Quantile90(std::vector<double> values) {
  const size_t at = std::min(values.size() - 1, values.size() * 9 / 10);
  std::nth_element(values.begin(), values.begin() + at, values.end());
  return values[at];
}

}  // namespace

float BackgroundTail::Relevance(float score) const {
  return static_cast<float>(std::exp(-images * kTailShare * std::exp(-(score - u) / b)));
}

// Reorders `scores`.
Background::Shape Background::ShapeOf(std::vector<float>& scores) {
  const size_t n = scores.size();
  const size_t low = n / 10, middle = n / 2, high = n - std::max<size_t>(n / 10, 1);
  std::nth_element(scores.begin(), scores.begin() + middle, scores.end());
  std::nth_element(scores.begin(), scores.begin() + low, scores.begin() + middle);
  std::nth_element(scores.begin() + middle, scores.begin() + high, scores.end());
  double excess = 0;
  for (size_t i = high; i < n; ++i) excess += scores[i] - scores[high];
  Shape shape;
  shape.middle = scores[middle];
  shape.scale = std::max((scores[middle] - scores[low]) / kNormalQuantile, kLeastScale);
  shape.u = scores[high];
  shape.b = std::max(excess / static_cast<double>(n - high), kLeastScale);
  return shape;
}

Background::Background(VectorSample sample, int dimension)
    : sample_(std::move(sample)),
      dimension_(dimension),
      rows_(dimension > 0 ? sample_.vectors.size() / dimension : 0),
      most_u_(0),
      most_b_(0) {
  if (!usable()) return;
  const float* rows = sample_.vectors.data();
  std::vector<double> us, bs;
  std::vector<float> scores;
  for (size_t i = 0; i < std::min(kCohort, rows_); ++i) {
    scores.clear();
    for (size_t j = 0; j < rows_; ++j) {
      if (j == i) continue;
      scores.push_back(InnerProduct(rows + i * dimension_, rows + j * dimension_, dimension_));
    }
    const Shape shape = ShapeOf(scores);
    us.push_back((shape.u - shape.middle) / shape.scale);
    bs.push_back(shape.b / shape.scale);
  }
  most_u_ = Quantile90(std::move(us));
  most_b_ = Quantile90(std::move(bs));
}

BackgroundTail Background::TailFor(absl::Span<const float> query) const {
  std::vector<float> scores(rows_);
  for (size_t i = 0; i < rows_; ++i) {
    scores[i] = InnerProduct(query.data(), sample_.vectors.data() + i * dimension_, dimension_);
  }
  const Shape shape = ShapeOf(scores);
  BackgroundTail tail;
  tail.u = std::min(shape.u, shape.middle + most_u_ * shape.scale);
  tail.b = std::max(std::min(shape.b, most_b_ * shape.scale), kLeastScale);
  tail.images = static_cast<double>(std::max<uint64_t>(sample_.live, rows_));
  return tail;
}

absl::StatusOr<std::shared_ptr<const Background>> Backgrounds::Get(Collection& collection,
                                                                   uint64_t version) {
  const CollectionOptions options = collection.options();
  const std::string& name = options.name;
  const int dimension = options.dimension;
  const absl::Time now = clock_();
  {
    MutexLock lock(&mutex_);
    const auto found = entries_.find(name);
    if (found != entries_.end()) {
      Entry& entry = found->second;
      const bool all = entry.background->rows() < Background::kSample;
      const bool young = !all && now - entry.sampled_at < kLeastAge;
      if (entry.background->dimension() == dimension && (entry.seen_version == version || young)) {
        return entry.background;
      }
    }
  }
  // Two callers may sample at once; the later answer stays.
  auto sample = SampleOf(collection, Background::kSample);
  if (!sample.ok()) return sample.status();
  {
    MutexLock lock(&mutex_);
    const auto found = entries_.find(name);
    if (found != entries_.end() && found->second.background->version() == sample->version &&
        found->second.background->dimension() == dimension) {
      found->second.seen_version = version;  // it was another collection that changed
      found->second.sampled_at = now;
      return found->second.background;
    }
  }
  auto background = std::make_shared<const Background>(*std::move(sample), dimension);
  MutexLock lock(&mutex_);
  if (entries_.size() >= kMostCollections && !entries_.contains(name)) {
    entries_.erase(entries_.begin());
  }
  entries_[name] = {background, version, now};
  return background;
}

absl::StatusOr<VectorSample> SampleOf(Collection& collection, size_t n) {
  absl::StatusOr<VectorSample> sample = collection.Sample(n);
  if (!absl::IsUnimplemented(sample.status())) return sample;
  ListOptions list;
  list.page_size = static_cast<int>(n);
  auto page = collection.List(list);
  if (!page.ok()) return page.status();
  auto count = collection.Count("");
  if (!count.ok()) return count.status();
  VectorSample listed;
  listed.live = count->count;
  listed.version = page->version;
  for (const Record& record : page->records) {
    listed.vectors.insert(listed.vectors.end(), record.vector.begin(), record.vector.end());
  }
  return listed;
}

absl::Status RelevancePass::Run(Ranking* ranking) {
  if (!tail_) return absl::OkStatus();
  std::vector<RankedHit> kept;
  for (RankedHit& hit : ranking->hits) {
    hit.relevance = tail_->Relevance(hit.hit.score);
    if (*hit.relevance >= least_) kept.push_back(std::move(hit));
  }
  // Deeper hits score lower still.
  if (kept.size() < ranking->hits.size()) ranking->complete = true;
  ranking->hits = std::move(kept);
  return absl::OkStatus();
}

}  // namespace imagesearch::index
