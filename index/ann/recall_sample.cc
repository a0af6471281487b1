// Sampled queries, their truth, and the lists that hold it.
#include "index/ann/recall_sample.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "index/ann/sample_queries.h"

namespace imagesearch::index {
namespace {

constexpr uint32_t kQueries = 250;           // sampled of each kind
constexpr uint32_t kMinTexts = 100;          // given; fewer are joined by made-up ones
constexpr int kTruth = kTunedDepths.back();  // nearest rows known of each
// Recall on a sample must reach the target by this many standard errors, so that the target holds
// on other queries.
constexpr double kStandardErrors = 3;
// The part of the allowed loss that made-up texts must stay away from: real ones may be harder.
constexpr double kSyntheticReserve = 0.3;

}  // namespace

RecallSample ImageSample(const VectorSource& vectors, double target_recall) {
  RecallSample images;
  images.target = target_recall;
  for (uint32_t row : SampleRows(vectors.rows(), kQueries, 17)) {
    images.queries.push_back({.vector = vectors.Row(row)});
    images.own.push_back(row);
  }
  return images;
}

RecallSample TextSample(const VectorSource& vectors, absl::Span<const float> mean,
                        absl::Span<const float> given, double target_recall) {
  const size_t d = static_cast<size_t>(vectors.dimension());
  RecallSample texts;
  texts.target = target_recall;
  if (given.size() < kMinTexts * d) {
    texts.made_up = SyntheticTexts(vectors, mean, std::min(vectors.rows(), kQueries), 19);
    texts.made_up.insert(texts.made_up.end(), given.begin(), given.end());
    given = texts.made_up;
    texts.target += kSyntheticReserve * (1 - target_recall);
  }
  for (uint32_t i : SampleRows(static_cast<uint32_t>(given.size() / d), kQueries, 23)) {
    texts.queries.push_back({.vector = given.data() + i * d, .kind = QueryKind::kText});
    texts.own.push_back(kNoRow);
  }
  return texts;
}

void FindTruth(const Layout& layout, const Scanner& scan, uint32_t begin, uint32_t end,
               RecallSample& sample) {
  std::vector<AnnQuery> queries(sample.queries.begin() + begin, sample.queries.begin() + end);
  for (AnnQuery& query : queries) query.k = kTruth + 1;
  const auto found = scan(queries);
  for (uint32_t i = begin; i < end && i - begin < found.size(); ++i) {
    for (const Neighbor& neighbor : found[i - begin]) {
      if (neighbor.row == sample.own[i] || sample.truth[i].size() == kTruth) continue;
      sample.truth[i].push_back(layout.PositionOf(neighbor.row));
    }
  }
}

bool RecallHolds(double sum, double squares, size_t n, double target) {
  if (n == 0) return true;
  const double count = static_cast<double>(n);
  const double mean = sum / count;
  const double variance = std::max(0.0, squares / count - mean * mean);
  // All found by every query is as much as a sample can show.
  return mean >= std::min(1.0, target + kStandardErrors * std::sqrt(variance / count)) - 1e-9;
}

uint32_t ProbesThatHold(const RecallSample& sample, const Lists& lists, double target, int depth,
                        uint32_t considered) {
  const uint32_t size = lists.size();
  const uint32_t count = static_cast<uint32_t>(sample.queries.size());
  // found_at[r]: (query, part of its nearest rows that the list of rank r holds).
  std::vector<std::vector<std::pair<uint32_t, double>>> found_at(size);
  double sum = 0, squares = 0;
  std::vector<double> recall(count, 0.0);
  std::vector<uint32_t> rank(size);
  for (uint32_t q = 0; q < count; ++q) {
    const std::vector<uint32_t> ranked =
        lists.Rank(lists.EncodeQuery(sample.queries[q].vector), considered);
    std::fill(rank.begin(), rank.end(), size);
    for (uint32_t i = 0; i < ranked.size(); ++i) rank[ranked[i]] = i;
    const size_t known = std::min<size_t>(depth, sample.truth[q].size());
    if (known == 0) {
      recall[q] = 1;
      sum += 1;
      squares += 1;
    }
    for (size_t i = 0; i < known; ++i) {
      const uint32_t r = rank[lists.ListOf(sample.truth[q][i])];
      if (r < size) found_at[r].push_back({q, 1.0 / static_cast<double>(known)});
    }
  }
  for (uint32_t probes = 0; probes < size; ++probes) {
    if (RecallHolds(sum, squares, count, target)) return std::max(probes, 1u);
    for (const auto& [q, part] : found_at[probes]) {
      sum += part;
      squares += part * (2 * recall[q] + part);
      recall[q] += part;
    }
  }
  return RecallHolds(sum, squares, count, target) ? std::max(size, 1u) : 0;
}

double ThreadNanoseconds(int times, const std::function<void()>& work) {
  const auto now = [] {
    timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return 1e9 * static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec);
  };
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < times; ++i) {
    const double start = now();
    work();
    best = std::min(best, now() - start);
  }
  return best;
}

}  // namespace imagesearch::index
