// One query's way through product-quantised codes: approximate scores choose candidates, full
// vectors settle them.
#ifndef IMAGESEARCH_INDEX_ANN_PQ_SEARCH_H_
#define IMAGESEARCH_INDEX_ANN_PQ_SEARCH_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "index/ann/ann_index.h"
#include "index/ann/lists.h"
#include "index/ann/pq_codes.h"

namespace imagesearch::index {

// What a search reads; all of it outlives the search.
struct PqData {
  const VectorSource& vectors;
  const PqCodes& codes;
  const Lists& lists;
  absl::Span<const uint32_t> order;  // the row at each position
};

// Not thread-safe; `data` and `query` outlive it.
class PqSearch {
 public:
  // Candidates are rows whose approximate score is at most `slack` below the k-th best one.
  PqSearch(const PqData& data, const AnnQuery& query, float slack);

  // Reads the `probes` nearest of `considered` lists; of a query with a mask the allowed rows only.
  void Probe(uint32_t probes, uint32_t considered);
  // For a query with a mask, which allows about `share` of all rows. false when the lists read
  // hold far fewer allowed rows than `share` promises (Lists::ProbeMasked).
  bool ProbeMasked(uint32_t probes, double share);

  const PqQuery& tables() const { return tables_; }
  // The k-th best approximate score so far; -infinity while there are fewer.
  float KthScore() const;
  // The k nearest of the candidates, with their true scores.
  std::vector<Neighbor> Finish();

 private:
  struct Candidate {
    float score;
    uint32_t position;
  };
  void Read(const Lists::Scored& list);
  void Add(float score, uint32_t position);
  void Purge();

  const PqData& data_;
  const AnnQuery& query_;
  const float slack_;
  const PqQuery tables_;
  float threshold_;
  std::vector<float> best_;  // min-heap of the k best approximate scores
  std::vector<Candidate> candidates_;
  size_t purge_at_;
  uint64_t read_ = 0;     // rows of the lists read
  uint64_t allowed_ = 0;  // of them, by the mask; all where there is none
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_PQ_SEARCH_H_
