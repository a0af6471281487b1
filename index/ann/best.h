// The k best neighbours of what is offered.
#ifndef IMAGESEARCH_INDEX_ANN_BEST_H_
#define IMAGESEARCH_INDEX_ANN_BEST_H_

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

#include "index/ann/ann_index.h"

namespace imagesearch::index {

// The k best so far under Neighbor's order. Not thread-safe.
class Best {
 public:
  explicit Best(size_t k) : k_(k) { heap_.reserve(std::min<size_t>(k, 4096)); }
  bool full() const { return heap_.size() == k_; }
  const Neighbor& worst() const { return heap_.front(); }
  void Offer(const Neighbor& neighbor) {
    if (full()) {
      if (!(neighbor < worst())) return;
      std::pop_heap(heap_.begin(), heap_.end());
      heap_.back() = neighbor;
    } else {
      heap_.push_back(neighbor);
    }
    std::push_heap(heap_.begin(), heap_.end());
  }
  std::vector<Neighbor> Sorted() && {
    std::sort_heap(heap_.begin(), heap_.end());
    return std::move(heap_);
  }

 private:
  size_t k_;
  std::vector<Neighbor> heap_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_BEST_H_
