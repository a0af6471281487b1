// Measuring how many lists and candidates hold a recall at the least cost.
#include "index/ann/pq_tuning.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <mutex>

#include "index/ann/byte_stream.h"
#include "index/ann/float_scan.h"
#include "index/ann/parallel.h"
#include "index/ann/sample_queries.h"

namespace imagesearch::index {
namespace {

constexpr int kTimings = 2;
// Parts of the allowed loss of recall that lists not probed may take; candidates not rescored take
// the rest. The cheapest is chosen.
constexpr std::array<double, 4> kProbeLosses = {0.25, 0.45, 0.65, 0.85};
// The part of the allowed loss that the sample must stay away from: the cheapest of several pairs
// of probes and slack is among the luckiest on the sample, too.
constexpr double kChoiceReserve = 0.15;
constexpr float kMaxSlack = 1e3;

class Tuner {
 public:
  Tuner(const PqData& data, const Layout& layout, absl::Span<const float> mean,
        const TuningOptions& options)
      : data_(data), layout_(layout), mean_(mean), options_(options) {}

  bool Run(PqTuning& tuning) {
    if (data_.codes.rows() == 0) return !Cancelled();
    MeasureReads(tuning.lists);
    row_ns_ = tuning.lists.row_ns;
    RecallSample images = ImageSample(data_.vectors, options_.target_recall);
    if (!Answer(images)) return false;
    tuning.lists.image = TuneKind(images, tuning.image_slack);
    if (Cancelled()) return false;
    RecallSample texts =
        TextSample(data_.vectors, mean_, options_.text_sample, options_.target_recall);
    if (!Answer(texts)) return false;
    tuning.lists.text = TuneKind(texts, tuning.text_slack);
    return !Cancelled();
  }

 private:
  bool Cancelled() const { return options_.cancelled != nullptr && *options_.cancelled; }

  void MeasureReads(Tuning& tuning) {
    const uint32_t n = data_.codes.rows();
    const AnnQuery query = {.vector = data_.vectors.Row(0)};
    const auto scan = [&](uint32_t lists) {
      return ThreadNanoseconds(kTimings,
                               [&] { PqSearch(data_, query, 0).Probe(lists, data_.lists.size()); });
    };
    // Ranking the lists and making the tables is not reading codes.
    const double ranking = scan(1);
    tuning.row_ns = static_cast<float>(std::max(0.5, (scan(data_.lists.size()) - ranking) / n));
    centroid_ns_ = std::max(0.5, ranking / data_.lists.size());
    const std::vector<uint32_t> rows = SampleRows(n, std::min(n, 2000 + n / 64), 29);
    std::vector<uint64_t> words((n + 63) / 64, 0);
    for (uint32_t row : rows) words[row / 64] |= uint64_t{1} << (row % 64);
    AnnQuery masked = query;
    masked.mask = {words.data(), static_cast<uint32_t>(rows.size())};
    tuning.gather_ns = static_cast<float>(
        ThreadNanoseconds(kTimings, [&] { FloatScanAllowed(data_.vectors, masked); }) /
        static_cast<double>(rows.size()));
  }

  bool Answer(RecallSample& sample) const {
    sample.target += kChoiceReserve * (1 - sample.target);
    const uint32_t count = static_cast<uint32_t>(sample.queries.size());
    sample.truth.resize(count);
    const auto scan = [this](absl::Span<const AnnQuery> queries) {
      return FloatScan(data_.vectors, queries, options_.threads, options_.cancelled);
    };
    FindTruth(layout_, scan, 0, count, sample);
    return !Cancelled();
  }

  KindTuning TuneKind(const RecallSample& sample, std::array<float, 3>& slack) const {
    KindTuning best;
    double least = std::numeric_limits<double>::infinity(), target = 1;
    for (double loss : kProbeLosses) {
      if (Cancelled()) return best;
      const double lists_target = 1 - loss * (1 - sample.target);
      KindTuning tuned;
      FindProbes(sample, lists_target, tuned);
      bool holds;
      const float wanted = FindSlack(sample, tuned, kTunedDepths[0], &holds);
      // Where nothing holds, the most careful serves.
      if (!holds && loss != kProbeLosses.front()) continue;
      const double ns = Time(sample, tuned, wanted);
      if (ns >= least && std::isfinite(least)) continue;
      least = holds ? ns : std::numeric_limits<double>::max();
      target = lists_target;
      tuned.probe_ns = static_cast<float>(ns);
      best = tuned;
      slack[0] = wanted;
    }
    const uint32_t size = data_.lists.size();
    const uint32_t first = ProbesThatHold(sample, data_.lists, target, 1, size);
    best.first = std::min(best.probes[0], static_cast<float>(first > 0 ? first : size));
    for (size_t i = 1; i < kTunedDepths.size(); ++i) {
      if (Cancelled()) return best;
      const uint32_t probes = ProbesThatHold(sample, data_.lists, target, kTunedDepths[i], size);
      best.probes[i] = std::max(best.probes[i - 1], static_cast<float>(probes > 0 ? probes : size));
      bool holds;
      slack[i] = FindSlack(sample, best, kTunedDepths[i], &holds);
    }
    return best;
  }

  void FindProbes(const RecallSample& sample, double target, KindTuning& tuned) const {
    const uint32_t size = data_.lists.size();
    const double rows_per_list = static_cast<double>(data_.codes.rows()) / size;
    double least = std::numeric_limits<double>::infinity();
    for (uint32_t considered = 64;; considered *= 2) {
      const bool all = considered >= size / 2;
      const uint32_t probes =
          ProbesThatHold(sample, data_.lists, target, kTunedDepths[0], all ? size : considered);
      const double cost = (all ? size : data_.lists.groups() + considered) * centroid_ns_ +
                          probes * rows_per_list * row_ns_;
      if (probes > 0 && cost < least) {
        least = cost;
        tuned.probes[0] = static_cast<float>(probes);
        tuned.breadth = static_cast<float>(all ? size : considered) / static_cast<float>(probes);
      }
      if (all) break;
    }
    if (!std::isfinite(least)) tuned.probes[0] = static_cast<float>(size);
  }

  // The least slack with which candidates from the probed lists hold the sample's target at
  // `depth`; all that these lists hold where none does.
  float FindSlack(const RecallSample& sample, const KindTuning& tuned, int depth,
                  bool* holds) const {
    struct Lack {
      float slack;  // with which the row becomes a candidate
      uint32_t query;
      double part;  // of the query's recall
    };
    const uint32_t count = static_cast<uint32_t>(sample.queries.size());
    const uint32_t probes = Tuning::Probes(tuned, depth, data_.lists.size());
    const uint32_t considered = Tuning::Considered(tuned, probes, data_.lists.size());
    std::vector<double> recall(count, 0.0);
    std::vector<Lack> lacks;
    std::mutex mutex;  // guards `lacks`
    ParallelFor(count, options_.threads, 8, [&](uint32_t begin, uint32_t end) {
      if (Cancelled()) return;
      std::vector<float> products(data_.lists.size());
      for (uint32_t q = begin; q < end; ++q) {
        AnnQuery query = sample.queries[q];
        query.k = depth + (sample.own[q] == kNoRow ? 0 : 1);
        PqSearch search(data_, query, 0);
        search.Probe(probes, considered);
        const float kth = search.KthScore();
        std::fill(products.begin(), products.end(), std::numeric_limits<float>::quiet_NaN());
        for (const Lists::Scored& list :
             data_.lists.NearestScored(data_.lists.EncodeQuery(query.vector), probes, considered)) {
          products[list.list] = data_.codes.ListProduct(list);
        }
        const size_t known = std::min<size_t>(depth, sample.truth[q].size());
        if (known == 0) recall[q] = 1;
        std::lock_guard lock(mutex);
        for (size_t i = 0; i < known; ++i) {
          const uint32_t position = sample.truth[q][i];
          const float product = products[data_.lists.ListOf(position)];
          if (std::isnan(product)) continue;
          const PqQuery& tables = search.tables();
          const float score = product + tables.base +
                              tables.step * static_cast<float>(data_.codes.Sum(tables, position));
          lacks.push_back({std::max(0.0f, kth - score), q, 1.0 / static_cast<double>(known)});
        }
      }
    });
    std::sort(lacks.begin(), lacks.end(),
              [](const Lack& a, const Lack& b) { return a.slack < b.slack; });
    double sum = 0, squares = 0;
    for (double r : recall) {
      sum += r;
      squares += r * r;
    }
    float slack = 0;
    *holds = true;
    for (const Lack& lack : lacks) {
      if (RecallHolds(sum, squares, count, sample.target)) return slack;
      // A rounding more, so that the row itself gets in.
      slack = lack.slack + 1e-5f;
      sum += lack.part;
      squares += lack.part * (2 * recall[lack.query] + lack.part);
      recall[lack.query] += lack.part;
    }
    *holds = RecallHolds(sum, squares, count, sample.target);
    return slack;
  }

  // Of a search, in nanoseconds.
  double Time(const RecallSample& sample, const KindTuning& tuned, float slack) const {
    const uint32_t probes = Tuning::Probes(tuned, kTunedDepths[0], data_.lists.size());
    const uint32_t considered = Tuning::Considered(tuned, probes, data_.lists.size());
    const double all = ThreadNanoseconds(kTimings, [&] {
      for (const AnnQuery& query : sample.queries) {
        PqSearch search(data_, query, slack);
        search.Probe(probes, considered);
        search.Finish();
      }
    });
    return all / static_cast<double>(std::max<size_t>(1, sample.queries.size()));
  }

  const PqData& data_;
  const Layout& layout_;
  const absl::Span<const float> mean_;
  const TuningOptions& options_;
  double row_ns_ = 1;
  double centroid_ns_ = 1;
};

}  // namespace

float PqTuning::Slack(const std::array<float, 3>& slack, double k) {
  const double depth = std::clamp(std::log10(std::max(k, 1.0)) - 1, 0.0, 2.0);
  const size_t i = depth < 1 ? 0 : 1;
  const float part = static_cast<float>(depth - static_cast<double>(i));
  return slack[i] + (slack[i + 1] - slack[i]) * part;
}

void PqTuning::Save(ByteSink& sink) const {
  lists.Save(sink);
  WriteArray(sink, image_slack);
  WriteArray(sink, text_slack);
}

bool PqTuning::Load(ByteSource& source) {
  if (!lists.Load(source) || !source.Read(image_slack.data(), sizeof(image_slack)) ||
      !source.Read(text_slack.data(), sizeof(text_slack))) {
    return false;
  }
  for (const auto* slack : {&image_slack, &text_slack}) {
    for (float s : *slack) {
      if (!(s >= 0 && s <= kMaxSlack)) return false;
    }
  }
  return true;
}

bool TunePq(const PqData& data, const Layout& layout, absl::Span<const float> mean,
            const TuningOptions& options, PqTuning& tuning) {
  return Tuner(data, layout, mean, options).Run(tuning);
}

}  // namespace imagesearch::index
