// How far searches must look to hold a recall, and which path is the cheapest: measured on sampled
// queries when an index is built, for image and for text queries apart.
#ifndef IMAGESEARCH_INDEX_ANN_TUNING_H_
#define IMAGESEARCH_INDEX_ANN_TUNING_H_

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "index/ann/collector.h"
#include "index/ann/graph.h"
#include "index/ann/lists.h"

namespace imagesearch::index {

// For queries of one kind.
struct KindTuning {
  // Lists to probe so that target_recall of a query's 10, 100 and 1,000 nearest rows are read.
  std::array<float, 3> probes = {1, 1, 1};
  // The same of its single nearest row; 0: not measured, as for 10.
  float first = 0;
  // Lists to consider for each that is probed (Lists::Rank), for unmasked queries.
  float breadth = 1e9;
  float probe_ns = 0;  // time of a query that probes probes[0] lists
  float ef = 0;        // of a graph walk that holds target_recall@10 in less time; 0: none does
  float walk_ns = 0;   // time of such a walk
};

struct Tuning {
  KindTuning image;
  KindTuning text;
  // What reading codes costs here.
  float row_ns = 10;     // per row, in order
  float gather_ns = 40;  // per row, out of order

  // Rows wanted of an index that holds `part` of all rows that a query for its k nearest searches:
  // three times those it holds on average, at least one and at most k.
  static double Depth(double k, double part) { return std::max(1.0, std::min(k, 3 * k * part)); }
  // Lists to probe for the `k` nearest, interpolated; 1 to `lists`.
  static uint32_t Probes(const KindTuning& kind, double k, uint32_t lists);
  // Lists to consider when `probes` are probed, at least those for the 10 nearest; at most `lists`.
  static uint32_t Considered(const KindTuning& kind, uint32_t probes, uint32_t lists);

  void Save(ByteSink& sink) const;
  // false when the stream is short or holds impossible numbers.
  bool Load(ByteSource& source);
};

struct TuningOptions {
  double target_recall = 0.95;
  absl::Span<const float> text_sample;  // (t, d) row-major; empty: SyntheticTexts
  int threads = 1;
  const std::atomic<bool>* cancelled = nullptr;  // may be null
};

// `graph` may be null. false: cancelled.
bool Tune(const SearchData& data, const Lists& lists, const Graph* graph,
          const TuningOptions& options, Tuning& tuning);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_TUNING_H_
