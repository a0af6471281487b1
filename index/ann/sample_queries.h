// Queries on which an index is tuned: rows of its own for image queries, given or made-up ones for
// text.
#ifndef IMAGESEARCH_INDEX_ANN_SAMPLE_QUERIES_H_
#define IMAGESEARCH_INDEX_ANN_SAMPLE_QUERIES_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "index/ann/ann_index.h"

namespace imagesearch::index {

// `count` distinct rows at random, fewer when there are fewer.
std::vector<uint32_t> SampleRows(uint32_t rows, uint32_t count, uint64_t seed);

// (count, d) row-major unit vectors placed as CLIP's texts lie to its images: at a cosine of about
// 0.2 to any image and a little more to one of them, the rest noise, some of it shaped as the
// images' variation is. Noisier than most real texts, so that what is tuned on it errs towards
// recall.
// `mean`: of all rows. Needs at least one row.
std::vector<float> SyntheticTexts(const VectorSource& vectors, absl::Span<const float> mean,
                                  uint32_t count, uint64_t seed);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_SAMPLE_QUERIES_H_
