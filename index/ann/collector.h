// Keeps the positions that may be among the k nearest while codes are scanned, and settles them
// with full-precision vectors.
#ifndef IMAGESEARCH_INDEX_ANN_COLLECTOR_H_
#define IMAGESEARCH_INDEX_ANN_COLLECTOR_H_

#include <cstdint>
#include <vector>

#include "index/ann/ann_index.h"
#include "index/ann/codes.h"
#include "index/ann/layout.h"

namespace imagesearch::index {

// What a search reads; all of it outlives the search.
struct SearchData {
  const VectorSource& vectors;
  const EncodedRows& codes;
  const Layout& layout;
};

// The error of a code's score that searches reckon with, as a part of the proved bound.
// kProved: results equal those of a float32 scan. kLikely: rounding errors of d dimensions that are
// independent add up to about bound / sqrt(d); 3.5 standard deviations of it.
enum class ErrorBound { kProved, kLikely };

// One query's candidates. Not thread-safe; `data` and `query` outlive it.
class Collector {
 public:
  // `query.k` >= 1.
  Collector(const SearchData& data, const AnnQuery& query, ErrorBound bound);

  const EncodedQuery& encoded() const { return encoded_; }
  const AnnQuery& query() const { return query_; }

  // Takes the scores of `n` <= kMaxBlock consecutive positions from `first`.
  void AddRange(uint32_t first, size_t n, const int32_t* dots);
  // Takes the scores of `n` <= kMaxBlock positions; the mask has been applied.
  void AddPositions(const uint32_t* positions, size_t n, const int32_t* dots);

  // Lower bound of the score of the k-th best so far; -infinity while there are fewer than k.
  float KthScore() const;

  // The k nearest of what was added.
  std::vector<Neighbor> Finish();

  static constexpr size_t kMaxBlock = 256;

 private:
  struct Candidate {
    float upper;  // bound of the score, less encoded_.base and error_
    uint32_t position;
  };
  void Add(uint32_t position, float scale, int32_t dot);
  void Purge();

  const SearchData& data_;
  const AnnQuery& query_;
  EncodedQuery encoded_;
  float error_;
  float row_error_;
  float threshold_;            // an upper below it can't be among the k nearest
  std::vector<float> lowers_;  // min-heap of the k best lower bounds
  std::vector<Candidate> candidates_;
  size_t purge_at_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_COLLECTOR_H_
