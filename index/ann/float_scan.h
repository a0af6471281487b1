// Scans of full-precision vectors, for indexes whose codes can't prove an answer.
#ifndef IMAGESEARCH_INDEX_ANN_FLOAT_SCAN_H_
#define IMAGESEARCH_INDEX_ANN_FLOAT_SCAN_H_

#include <atomic>
#include <vector>

#include "absl/types/span.h"
#include "index/ann/ann_index.h"

namespace imagesearch::index {

// The k nearest allowed rows of each query by float32 scores, in one pass over the rows that
// `threads` threads share. `cancelled` may be null; once set, the answers are of no use.
std::vector<std::vector<Neighbor>> FloatScan(const VectorSource& vectors,
                                             absl::Span<const AnnQuery> queries, int threads,
                                             const std::atomic<bool>* cancelled);

// The same for one query, reading only the rows that its mask allows (its words are set).
std::vector<Neighbor> FloatScanAllowed(const VectorSource& vectors, const AnnQuery& query);

// Starts to fetch a row that is read soon; the hardware follows from its first lines.
inline void FetchRow(const float* row, int dimension) {
  for (int i = 0; i < dimension && i < 64; i += 16) __builtin_prefetch(row + i);
}

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_FLOAT_SCAN_H_
