// Lets rows that no index holds yet be searched by the lists of one that does: a row is noted with
// its nearest list when it comes, and a query looks at rows of the lists near to it only.
#ifndef IMAGESEARCH_INDEX_ANN_LIST_GUIDE_H_
#define IMAGESEARCH_INDEX_ANN_LIST_GUIDE_H_

#include <cstdint>
#include <utility>
#include <vector>

#include "index/ann/lists.h"
#include "index/ann/tuning.h"

namespace imagesearch::index {

// Immutable after construction. Thread-safe.
class ListGuide {
 public:
  ListGuide(Lists lists, const Tuning& tuning, int dimension)
      : lists_(std::move(lists)), tuning_(tuning), dimension_(dimension) {}

  const Lists& lists() const { return lists_; }

  // The list of a row; `x`: `dimension` finite values.
  uint32_t ListOf(const float* x) const;

  // Bit per list: those whose rows a query for its `k` nearest (Tuning::Depth) should see, by the
  // recall that the index was tuned to and half as many lists again. ListOf(query) is among them,
  // so that a vector finds itself.
  std::vector<uint64_t> Near(const float* query, QueryKind kind, double k) const;

  uint64_t memory_bytes() const { return lists_.memory_bytes(); }

 private:
  const Lists lists_;
  const Tuning tuning_;
  const int dimension_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_LIST_GUIDE_H_
