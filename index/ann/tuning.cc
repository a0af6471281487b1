// Measuring recall and cost of the search paths.
#include "index/ann/tuning.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "index/ann/byte_stream.h"
#include "index/ann/parallel.h"
#include "index/ann/recall_sample.h"
#include "index/ann/sample_queries.h"
#include "index/ann/scan.h"

namespace imagesearch::index {
namespace {

constexpr int kTimings = 3;
constexpr float kMaxNs = 1e12f;

class Tuner {
 public:
  Tuner(const SearchData& data, const Lists& lists, const Graph* graph,
        const TuningOptions& options)
      : data_(data), lists_(lists), graph_(graph), options_(options) {}

  bool Run(Tuning& tuning) {
    const uint32_t n = data_.codes.rows();
    if (n == 0) return true;
    MeasureReads(tuning);

    RecallSample images = ImageSample(data_.vectors, options_.target_recall);
    if (!Answer(images)) return false;
    tuning.image = TuneKind(images);

    RecallSample texts =
        TextSample(data_.vectors, data_.codes.mean(), options_.text_sample, options_.target_recall);
    if (!Answer(texts)) return false;
    tuning.text = TuneKind(texts);
    return !Cancelled();
  }

 private:
  bool Cancelled() const { return options_.cancelled != nullptr && *options_.cancelled; }

  void MeasureReads(Tuning& tuning) const {
    const uint32_t n = data_.codes.rows();
    AnnQuery query = {.vector = data_.vectors.Row(0)};
    tuning.row_ns =
        static_cast<float>(ThreadNanoseconds(kTimings,
                                             [&] {
                                               Scan(data_, {&query, 1}, ErrorBound::kLikely);
                                             }) /
                           n);
    const std::vector<uint32_t> rows = SampleRows(n, std::min(n, 2000 + n / 64), 29);
    std::vector<uint64_t> words((n + 63) / 64, 0);
    for (uint32_t row : rows) words[row / 64] |= uint64_t{1} << (row % 64);
    query.mask = {words.data(), static_cast<uint32_t>(rows.size())};
    tuning.gather_ns = static_cast<float>(
        ThreadNanoseconds(kTimings, [&] { ScanAllowed(data_, query, ErrorBound::kLikely); }) /
        static_cast<double>(rows.size()));
  }

  bool Answer(RecallSample& sample) const {
    const uint32_t count = static_cast<uint32_t>(sample.queries.size());
    sample.truth.resize(count);
    ParallelFor(count, options_.threads, 32, [&](uint32_t begin, uint32_t end) {
      if (Cancelled()) return;
      const auto scan = [this](absl::Span<const AnnQuery> queries) {
        return Scan(data_, queries, ErrorBound::kLikely);
      };
      FindTruth(data_.layout, scan, begin, end, sample);
    });
    return !Cancelled();
  }

  KindTuning TuneKind(const RecallSample& sample) const {
    KindTuning tuned;
    FindProbes(sample, tuned);
    const double count = static_cast<double>(sample.queries.size());
    tuned.probe_ns = static_cast<float>(
        ThreadNanoseconds(kTimings,
                          [&] {
                            for (const AnnQuery& query : sample.queries) {
                              Collector collector(data_, query, ErrorBound::kLikely);
                              const uint32_t probes = Tuning::Probes(tuned, 10, lists_.size());
                              lists_.Probe(data_, probes,
                                           Tuning::Considered(tuned, probes, lists_.size()),
                                           collector);
                              collector.Finish();
                            }
                          }) /
        count);
    if (graph_ == nullptr) return tuned;
    for (int ef : {10, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512}) {
      if (Cancelled()) return tuned;
      bool holds = false;
      const double ns = ThreadNanoseconds(1, [&] { holds = WalkHolds(sample, ef); }) / count;
      // A wider walk only gets dearer.
      if (ns > tuned.probe_ns) break;
      if (!holds) continue;
      tuned.ef = static_cast<float>(ef);
      tuned.walk_ns = static_cast<float>(ns);
      break;
    }
    return tuned;
  }

  void FindProbes(const RecallSample& sample, KindTuning& tuned) const {
    const uint32_t size = lists_.size();
    const double rows_per_list = static_cast<double>(data_.codes.rows()) / size;
    double least = std::numeric_limits<double>::infinity();
    for (uint32_t considered = 64;; considered *= 2) {
      const bool all = considered >= size / 2;
      const uint32_t probes =
          ProbesThatHold(sample, lists_, sample.target, kTunedDepths[0], all ? size : considered);
      // Rows and centroids read.
      const double cost = (all ? size : lists_.groups() + considered) + probes * rows_per_list;
      if (probes > 0 && cost < least) {
        least = cost;
        tuned.probes[0] = static_cast<float>(probes);
        tuned.breadth = static_cast<float>(all ? size : considered) / static_cast<float>(probes);
      }
      if (all) break;
    }
    for (size_t i = 1; i < kTunedDepths.size(); ++i) {
      const uint32_t probes = ProbesThatHold(sample, lists_, sample.target, kTunedDepths[i], size);
      tuned.probes[i] =
          std::max(tuned.probes[i - 1], static_cast<float>(probes > 0 ? probes : size));
    }
    const uint32_t first = ProbesThatHold(sample, lists_, sample.target, 1, size);
    tuned.first = std::min(tuned.probes[0], static_cast<float>(first > 0 ? first : size));
  }

  // Whether a walk of this width holds the target.
  bool WalkHolds(const RecallSample& sample, int ef) const {
    double sum = 0, squares = 0;
    for (size_t q = 0; q < sample.queries.size(); ++q) {
      AnnQuery query = sample.queries[q];
      query.k = kTunedDepths[0] + 1;
      Collector collector(data_, query, ErrorBound::kLikely);
      graph_->Walk(data_, ef, collector);
      const std::vector<Neighbor> found = collector.Finish();
      const size_t known = std::min<size_t>(kTunedDepths[0], sample.truth[q].size());
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
    return RecallHolds(sum, squares, sample.queries.size(), sample.target);
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
