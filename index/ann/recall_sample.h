// Queries whose nearest rows are known, and what lists must be read to find these: the ground on
// which an index is tuned when it is built.
#ifndef IMAGESEARCH_INDEX_ANN_RECALL_SAMPLE_H_
#define IMAGESEARCH_INDEX_ANN_RECALL_SAMPLE_H_

#include <array>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/types/span.h"
#include "index/ann/ann_index.h"
#include "index/ann/layout.h"
#include "index/ann/lists.h"

namespace imagesearch::index {

// Depths at which searches are tuned: a query's 10, 100 and 1,000 nearest rows.
inline constexpr std::array<int, 3> kTunedDepths = {10, 100, 1000};
inline constexpr uint32_t kNoRow = 0xffffffff;

struct RecallSample {
  double target = 1;  // recall
  std::vector<AnnQuery> queries;
  std::vector<uint32_t> own;                 // the row a query is a copy of: no answer of its own
  std::vector<std::vector<uint32_t>> truth;  // positions, nearest first, at most 1,000
  std::vector<float> made_up;                // vectors of queries that nobody gave
};

// Rows of the index as image queries. `truth` is empty.
RecallSample ImageSample(const VectorSource& vectors, double target_recall);

// Texts out of `given`, (t, d) row-major, joined by made-up ones where there are few. `mean`: of
// all rows; there is one. `given` outlives the sample. `truth` is empty.
RecallSample TextSample(const VectorSource& vectors, absl::Span<const float> mean,
                        absl::Span<const float> given, double target_recall);

// Exact answers to queries; an empty one for none, when cancelled.
using Scanner =
    std::function<std::vector<std::vector<Neighbor>>(absl::Span<const AnnQuery> queries)>;

// Fills `truth` of the queries [begin, end). Safe at the same time on other queries.
void FindTruth(const Layout& layout, const Scanner& scan, uint32_t begin, uint32_t end,
               RecallSample& sample);

// Whether recalls of `n` queries, given by their sum and sum of squares, show that the target
// holds on other queries, too.
bool RecallHolds(double sum, double squares, size_t n, double target);

// The fewest lists, nearest first of `considered` that are ranked, which hold `target` of the
// `depth` nearest rows; 0 when none do.
uint32_t ProbesThatHold(const RecallSample& sample, const Lists& lists, double target, int depth,
                        uint32_t considered);

// The least of `times` runs, in processor time of this thread: builds run beside other work, which
// wall time would count too.
double ThreadNanoseconds(int times, const std::function<void()>& work);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_RECALL_SAMPLE_H_
