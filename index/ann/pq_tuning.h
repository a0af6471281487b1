// How far searches of product-quantised codes must look to hold a recall: lists to probe and
// candidates to rescore, measured when an index is built, for image and for text queries apart.
#ifndef IMAGESEARCH_INDEX_ANN_PQ_TUNING_H_
#define IMAGESEARCH_INDEX_ANN_PQ_TUNING_H_

#include <array>

#include "index/ann/layout.h"
#include "index/ann/pq_search.h"
#include "index/ann/recall_sample.h"
#include "index/ann/tuning.h"

namespace imagesearch::index {

struct PqTuning {
  // Probes and times; no graph walks. row_ns: of a code; gather_ns: of a full vector.
  Tuning lists;
  // How far below the k-th best approximate score a row may lie that is rescored, for a query's 10,
  // 100 and 1,000 nearest rows.
  std::array<float, 3> image_slack = {};
  std::array<float, 3> text_slack = {};

  // Between the measured depths, on a logarithmic scale of k.
  static float Slack(const std::array<float, 3>& slack, double k);

  void Save(ByteSink& sink) const;
  // false when the stream is short or holds impossible numbers.
  bool Load(ByteSource& source);
};

// `layout` belongs to data.order; `mean`: of all rows. false: cancelled.
bool TunePq(const PqData& data, const Layout& layout, absl::Span<const float> mean,
            const TuningOptions& options, PqTuning& tuning);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_PQ_TUNING_H_
