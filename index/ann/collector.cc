// Candidates of a scan, their thresholds and their rescoring.
#include "index/ann/collector.h"

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "index/ann/best.h"
#include "index/ann/float_scan.h"

namespace imagesearch::index {
namespace {

constexpr float kLikelyDeviations = 3.5f;
constexpr size_t kFirstPurge = 1024;

}  // namespace

Collector::Collector(const SearchData& data, const AnnQuery& query, ErrorBound bound)
    : data_(data),
      query_(query),
      encoded_(data.codes.EncodeQuery(query.vector)),
      threshold_(-std::numeric_limits<float>::infinity()),
      purge_at_(std::max(kFirstPurge, 4 * static_cast<size_t>(query.k))) {
  const float part =
      bound == ErrorBound::kProved
          ? 1.0f
          : std::min(1.0f, kLikelyDeviations /
                               std::sqrt(static_cast<float>(std::max(1, data.codes.dimension()))));
  error_ = encoded_.error * part;
  row_error_ = encoded_.row_error * part;
  lowers_.reserve(std::min<size_t>(static_cast<size_t>(query.k), 4096));
}

void Collector::Add(uint32_t position, float scale, int32_t dot) {
  const float middle = scale * encoded_.scale * static_cast<float>(dot - encoded_.offset);
  const float lower = middle - scale * row_error_;
  candidates_.push_back({middle + scale * row_error_, position});
  if (lowers_.size() < static_cast<size_t>(query_.k)) {
    lowers_.push_back(lower);
    std::push_heap(lowers_.begin(), lowers_.end(), std::greater<>());
    if (lowers_.size() < static_cast<size_t>(query_.k)) return;
  } else if (lower > lowers_.front()) {
    std::pop_heap(lowers_.begin(), lowers_.end(), std::greater<>());
    lowers_.back() = lower;
    std::push_heap(lowers_.begin(), lowers_.end(), std::greater<>());
  } else {
    return;
  }
  threshold_ = lowers_.front() - 2 * error_;
}

void Collector::AddRange(uint32_t first, size_t n, const int32_t* dots) {
  uint32_t selected[kMaxBlock];
  const float* scales = data_.codes.scales() + first;
  const size_t count = Simd().select(dots, scales, n, encoded_.offset, encoded_.scale, row_error_,
                                     threshold_, selected);
  for (size_t i = 0; i < count; ++i) {
    const uint32_t j = selected[i];
    if (query_.mask.Allows(data_.layout.RowAt(first + j))) Add(first + j, scales[j], dots[j]);
  }
  if (candidates_.size() >= purge_at_) Purge();
}

void Collector::AddPositions(const uint32_t* positions, size_t n, const int32_t* dots) {
  float scales[kMaxBlock];
  uint32_t selected[kMaxBlock];
  for (size_t i = 0; i < n; ++i) scales[i] = data_.codes.scales()[positions[i]];
  const size_t count = Simd().select(dots, scales, n, encoded_.offset, encoded_.scale, row_error_,
                                     threshold_, selected);
  for (size_t i = 0; i < count; ++i) {
    const uint32_t j = selected[i];
    Add(positions[j], scales[j], dots[j]);
  }
  if (candidates_.size() >= purge_at_) Purge();
}

void Collector::Purge() {
  std::erase_if(candidates_, [this](const Candidate& c) { return c.upper < threshold_; });
  purge_at_ = std::max(purge_at_, 2 * candidates_.size());
}

float Collector::KthScore() const {
  if (lowers_.size() < static_cast<size_t>(query_.k)) {
    return -std::numeric_limits<float>::infinity();
  }
  return lowers_.front() + encoded_.base - error_;
}

std::vector<Neighbor> Collector::Finish() {
  Purge();
  std::sort(candidates_.begin(), candidates_.end(), [](const Candidate& a, const Candidate& b) {
    return a.upper != b.upper ? a.upper > b.upper : a.position < b.position;
  });
  constexpr size_t kReadAhead = 4;
  const int d = data_.codes.dimension();
  const SimdKernels& simd = Simd();
  Best best(static_cast<size_t>(query_.k));
  for (size_t i = 0; i < candidates_.size(); ++i) {
    if (best.full() && candidates_[i].upper + encoded_.base + error_ < best.worst().score) break;
    if (i + kReadAhead < candidates_.size()) {
      const uint32_t ahead = data_.layout.RowAt(candidates_[i + kReadAhead].position);
      FetchRow(data_.vectors.Row(ahead), d);
    }
    const uint32_t row = data_.layout.RowAt(candidates_[i].position);
    best.Offer({simd.dot_f32(query_.vector, data_.vectors.Row(row), static_cast<size_t>(d)), row});
  }
  return std::move(best).Sorted();
}

}  // namespace imagesearch::index
