// Measuring recall and cost of the search paths.
#include "index/ann/tuning.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "index/ann/byte_stream.h"
#include "index/ann/parallel.h"
#include "index/ann/sample_queries.h"
#include "index/ann/scan.h"

namespace imagesearch::index {
namespace {

constexpr uint32_t kQueries = 250;   // sampled of each kind
constexpr uint32_t kMinTexts = 100;  // given; fewer are joined by made-up ones
constexpr int kTruth = 1000;         // nearest rows known of each
constexpr std::array<int, 3> kDepths = {10, 100, kTruth};
// Recall on a sample must reach the target by this many standard errors, so that the target holds
// on other queries.
constexpr double kStandardErrors = 3;
// The part of the allowed loss that made-up texts must stay away from: real ones may be harder.
constexpr double kSyntheticReserve = 0.3;
constexpr int kTimings = 3;
constexpr float kMaxNs = 1e12f;

// The least of `times` runs, in processor time of this thread: builds run beside other work, which
// wall time would count too.
double Nanoseconds(int times, const std::function<void()>& work) {
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

constexpr uint32_t kNoRow = 0xffffffff;

struct Sample {
  double target = 1;  // recall
  std::vector<AnnQuery> queries;
  std::vector<uint32_t> own;                 // the row a query is a copy of: no answer of its own
  std::vector<std::vector<uint32_t>> truth;  // positions, nearest first
};

// Whether recalls of `n` queries, given by their sum and sum of squares, show that the target
// holds.
bool Holds(double sum, double squares, size_t n, double target) {
  if (n == 0) return true;
  const double count = static_cast<double>(n);
  const double mean = sum / count;
  const double variance = std::max(0.0, squares / count - mean * mean);
  // All found by every query is as much as a sample can show.
  return mean >= std::min(1.0, target + kStandardErrors * std::sqrt(variance / count)) - 1e-9;
}

class Tuner {
 public:
  Tuner(const SearchData& data, const Lists& lists, const Graph* graph,
        const TuningOptions& options)
      : data_(data), lists_(lists), graph_(graph), options_(options) {}

  bool Run(Tuning& tuning) {
    const uint32_t n = data_.codes.rows();
    const size_t d = static_cast<size_t>(data_.codes.dimension());
    if (n == 0) return true;
    MeasureReads(tuning);

    Sample images;
    images.target = options_.target_recall;
    for (uint32_t row : SampleRows(n, kQueries, 17)) {
      images.queries.push_back({.vector = data_.vectors.Row(row)});
      images.own.push_back(row);
    }
    if (!FindTruth(images)) return false;
    tuning.image = TuneKind(images);

    std::vector<float> completed;
    absl::Span<const float> texts = options_.text_sample;
    if (texts.size() < kMinTexts * d) {
      completed = SyntheticTexts(data_.vectors, data_.codes.mean(), std::min(n, kQueries), 19);
      completed.insert(completed.end(), texts.begin(), texts.end());
      texts = completed;
    }
    Sample sample;
    sample.target = options_.target_recall;
    if (!completed.empty()) sample.target += kSyntheticReserve * (1 - options_.target_recall);
    for (uint32_t i : SampleRows(static_cast<uint32_t>(texts.size() / d), kQueries, 23)) {
      sample.queries.push_back({.vector = texts.data() + i * d, .kind = QueryKind::kText});
      sample.own.push_back(kNoRow);
    }
    if (!FindTruth(sample)) return false;
    tuning.text = TuneKind(sample);
    return !Cancelled();
  }

 private:
  bool Cancelled() const { return options_.cancelled != nullptr && *options_.cancelled; }

  void MeasureReads(Tuning& tuning) const {
    const uint32_t n = data_.codes.rows();
    AnnQuery query = {.vector = data_.vectors.Row(0)};
    tuning.row_ns = static_cast<float>(Nanoseconds(kTimings,
                                                   [&] {
                                                     Scan(data_, {&query, 1}, ErrorBound::kLikely);
                                                   }) /
                                       n);
    const std::vector<uint32_t> rows = SampleRows(n, std::min(n, 2000 + n / 64), 29);
    std::vector<uint64_t> words((n + 63) / 64, 0);
    for (uint32_t row : rows) words[row / 64] |= uint64_t{1} << (row % 64);
    query.mask = {words.data(), static_cast<uint32_t>(rows.size())};
    tuning.gather_ns = static_cast<float>(
        Nanoseconds(kTimings, [&] { ScanAllowed(data_, query, ErrorBound::kLikely); }) /
        static_cast<double>(rows.size()));
  }

  bool FindTruth(Sample& sample) const {
    const uint32_t count = static_cast<uint32_t>(sample.queries.size());
    sample.truth.resize(count);
    ParallelFor(count, options_.threads, 32, [&](uint32_t begin, uint32_t end) {
      if (Cancelled()) return;
      std::vector<AnnQuery> queries(sample.queries.begin() + begin, sample.queries.begin() + end);
      for (AnnQuery& query : queries) query.k = kTruth + 1;
      const auto found = Scan(data_, queries, ErrorBound::kLikely);
      for (uint32_t i = begin; i < end; ++i) {
        for (const Neighbor& neighbor : found[i - begin]) {
          if (neighbor.row == sample.own[i] || sample.truth[i].size() == kTruth) continue;
          sample.truth[i].push_back(data_.layout.PositionOf(neighbor.row));
        }
      }
    });
    return !Cancelled();
  }

  KindTuning TuneKind(const Sample& sample) const {
    KindTuning tuned;
    FindProbes(sample, tuned);
    const double count = static_cast<double>(sample.queries.size());
    tuned.probe_ns = static_cast<float>(
        Nanoseconds(kTimings,
                    [&] {
                      for (const AnnQuery& query : sample.queries) {
                        Collector collector(data_, query, ErrorBound::kLikely);
                        const uint32_t probes = Tuning::Probes(tuned, 10, lists_.size());
                        lists_.Probe(data_, probes,
                                     Tuning::Considered(tuned, probes, lists_.size()), collector);
                        collector.Finish();
                      }
                    }) /
        count);
    if (graph_ == nullptr) return tuned;
    for (int ef : {10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512}) {
      if (Cancelled()) return tuned;
      bool holds = false;
      const double ns = Nanoseconds(1, [&] { holds = WalkHolds(sample, ef); }) / count;
      // A wider walk only gets dearer.
      if (ns > tuned.probe_ns) break;
      if (!holds) continue;
      tuned.ef = static_cast<float>(ef);
      tuned.walk_ns = static_cast<float>(ns);
      break;
    }
    return tuned;
  }

  // The fewest probes that hold the target for the `depth` nearest rows when `considered` lists are
  // ranked; 0 when none do.
  uint32_t ProbesThatHold(const Sample& sample, int depth, uint32_t considered) const {
    const uint32_t size = lists_.size();
    const uint32_t count = static_cast<uint32_t>(sample.queries.size());
    // found_at[r]: (query, part of its nearest rows that the list of rank r holds).
    std::vector<std::vector<std::pair<uint32_t, double>>> found_at(size);
    double sum = 0, squares = 0;
    std::vector<double> recall(count, 0.0);
    std::vector<uint32_t> rank(size);
    for (uint32_t q = 0; q < count; ++q) {
      const std::vector<uint32_t> ranked =
          lists_.Rank(data_.codes.EncodeQuery(sample.queries[q].vector), considered);
      std::fill(rank.begin(), rank.end(), size);
      for (uint32_t i = 0; i < ranked.size(); ++i) rank[ranked[i]] = i;
      const size_t known = std::min<size_t>(depth, sample.truth[q].size());
      if (known == 0) {
        recall[q] = 1;
        sum += 1;
        squares += 1;
      }
      for (size_t i = 0; i < known; ++i) {
        const uint32_t r = rank[lists_.ListOf(sample.truth[q][i])];
        if (r < size) found_at[r].push_back({q, 1.0 / static_cast<double>(known)});
      }
    }
    for (uint32_t probes = 0; probes < size; ++probes) {
      if (Holds(sum, squares, count, sample.target)) return std::max(probes, 1u);
      for (const auto& [q, part] : found_at[probes]) {
        sum += part;
        squares += part * (2 * recall[q] + part);
        recall[q] += part;
      }
    }
    return Holds(sum, squares, count, sample.target) ? std::max(size, 1u) : 0;
  }

  void FindProbes(const Sample& sample, KindTuning& tuned) const {
    const uint32_t size = lists_.size();
    const double rows_per_list = static_cast<double>(data_.codes.rows()) / size;
    double least = std::numeric_limits<double>::infinity();
    for (uint32_t considered = 64;; considered *= 2) {
      const bool all = considered >= size / 2;
      const uint32_t probes = ProbesThatHold(sample, kDepths[0], all ? size : considered);
      // Rows and centroids read.
      const double cost = (all ? size : lists_.groups() + considered) + probes * rows_per_list;
      if (probes > 0 && cost < least) {
        least = cost;
        tuned.probes[0] = static_cast<float>(probes);
        tuned.breadth = static_cast<float>(all ? size : considered) / static_cast<float>(probes);
      }
      if (all) break;
    }
    for (size_t i = 1; i < kDepths.size(); ++i) {
      const uint32_t probes = ProbesThatHold(sample, kDepths[i], size);
      tuned.probes[i] =
          std::max(tuned.probes[i - 1], static_cast<float>(probes > 0 ? probes : size));
    }
    const uint32_t first = ProbesThatHold(sample, 1, size);
    tuned.first = std::min(tuned.probes[0], static_cast<float>(first > 0 ? first : size));
  }

  // Whether a walk of this width holds the target.
  bool WalkHolds(const Sample& sample, int ef) const {
    double sum = 0, squares = 0;
    for (size_t q = 0; q < sample.queries.size(); ++q) {
      AnnQuery query = sample.queries[q];
      query.k = kDepths[0] + 1;
      Collector collector(data_, query, ErrorBound::kLikely);
      graph_->Walk(data_, ef, collector);
      const std::vector<Neighbor> found = collector.Finish();
      const size_t known = std::min<size_t>(kDepths[0], sample.truth[q].size());
      size_t hits = 0;
      for (size_t i = 0; i < known; ++i) {
        const uint32_t row = data_.layout.RowAt(sample.truth[q][i]);
        hits += std::any_of(found.begin(), found.end(),
                            [&](const Neighbor& neighbor) { return neighbor.row == row; });
      }
      const double recall = known == 0 ? 1 : static_cast<double>(hits) / static_cast<double>(known);
      sum += recall;
      squares += recall * recall;
    }
    return Holds(sum, squares, sample.queries.size(), sample.target);
  }

  const SearchData& data_;
  const Lists& lists_;
  const Graph* graph_;
  const TuningOptions& options_;
};

}  // namespace

uint32_t Tuning::Probes(const KindTuning& kind, double k, uint32_t lists) {
  // Straight lines between the measured depths on logarithmic scales, the last one going on.
  if (k < 10 && kind.first > 0) {
    const double low = std::log(kind.first), high = std::log(kind.probes[0]);
    const double probes = std::exp(low + (high - low) * std::log10(std::max(k, 1.0)));
    return static_cast<uint32_t>(
        std::clamp(std::ceil(probes - 1e-4), 1.0, std::max(1.0, static_cast<double>(lists))));
  }
  const double depth = std::max(0.0, std::log10(std::max(k, 1.0)) - 1);
  const size_t i = depth < 1 ? 0 : 1;
  const double low = std::log(kind.probes[i]), high = std::log(kind.probes[i + 1]);
  const double probes = std::exp(low + (high - low) * (depth - static_cast<double>(i)));
  return static_cast<uint32_t>(
      std::clamp(std::ceil(probes - 1e-4), 1.0, std::max(1.0, static_cast<double>(lists))));
}

uint32_t Tuning::Considered(const KindTuning& kind, uint32_t probes, uint32_t lists) {
  return static_cast<uint32_t>(std::min(
      std::ceil(double{kind.breadth} * std::max(static_cast<float>(probes), kind.probes[0])),
      static_cast<double>(lists)));
}

void Tuning::Save(ByteSink& sink) const {
  for (const KindTuning* kind : {&image, &text}) {
    WriteArray(sink, kind->probes);
    WriteValue(sink, kind->first);
    WriteValue(sink, kind->breadth);
    WriteValue(sink, kind->probe_ns);
    WriteValue(sink, kind->ef);
    WriteValue(sink, kind->walk_ns);
  }
  WriteValue(sink, row_ns);
  WriteValue(sink, gather_ns);
}

bool Tuning::Load(ByteSource& source) {
  const auto time = [](float x) { return x >= 0 && x <= kMaxNs; };
  for (KindTuning* kind : {&image, &text}) {
    if (!source.Read(kind->probes.data(), sizeof(kind->probes)) ||
        !ReadValue(source, kind->first) || !ReadValue(source, kind->breadth) ||
        !ReadValue(source, kind->probe_ns) || !ReadValue(source, kind->ef) ||
        !ReadValue(source, kind->walk_ns)) {
      return false;
    }
    for (float probes : kind->probes) {
      if (!(probes >= 1 && probes <= 65'536)) return false;
    }
    if (!(kind->first >= 0 && kind->first <= 65'536)) return false;
    if (!(kind->breadth >= 1 && kind->breadth <= 1e9f) || !time(kind->probe_ns) ||
        !time(kind->walk_ns) || !(kind->ef >= 0 && kind->ef <= 10'000)) {
      return false;
    }
  }
  return ReadValue(source, row_ns) && ReadValue(source, gather_ns) && time(row_ns) &&
         time(gather_ns);
}

bool Tune(const SearchData& data, const Lists& lists, const Graph* graph,
          const TuningOptions& options, Tuning& tuning) {
  return Tuner(data, lists, graph, options).Run(tuning);
}

}  // namespace imagesearch::index
