// Splits rows into lists of rows that point the same way.
#ifndef IMAGESEARCH_INDEX_ANN_CLUSTER_H_
#define IMAGESEARCH_INDEX_ANN_CLUSTER_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "index/ann/ann_index.h"

namespace imagesearch::index {

// Lists that are made of this many rows where nobody says how many.
uint32_t ListsFor(uint32_t rows);
// Groups of this many lists.
uint32_t GroupsFor(uint32_t lists);

struct ClusterOptions {
  uint32_t lists = 0;  // at most this many come out; 0: ListsFor
  int threads = 1;
  const std::atomic<bool>* cancelled = nullptr;  // may be null
};

struct Clusters {
  std::vector<uint32_t> order;    // all rows, list after list
  std::vector<uint32_t> offsets;  // list i is order[offsets[i]] to order[offsets[i + 1] - 1]
  // (lists, d) row-major, length 1: the direction of the mean of a list's rows, the common mean
  // included. Ranking by a query's product with these finds the nearest rows in half the lists that
  // unscaled means need (measured), since a loose list's mean is short.
  std::vector<float> centroids;
  // Lists that point the same way follow one another: group g is lists group_offsets[g] to
  // group_offsets[g + 1] - 1, around the direction (d values, length 1) of row g of
  // `group_centroids`.
  std::vector<uint32_t> group_offsets;
  std::vector<float> group_centroids;
};

// Spherical k-means over what remains of the rows without their `mean`: the part shared by all
// rows would make every list look alike. No list or group is empty. CANCELLED when told so.
absl::StatusOr<Clusters> ClusterRows(const VectorSource& vectors, absl::Span<const float> mean,
                                     const ClusterOptions& options);

// Rows of a matrix in memory, which outlives it.
class MatrixSource final : public VectorSource {
 public:
  MatrixSource(const std::vector<float>& values, int dimension)
      : values_(values), dimension_(dimension) {}
  uint32_t rows() const override {
    return static_cast<uint32_t>(values_.size() / static_cast<size_t>(dimension_));
  }
  int dimension() const override { return dimension_; }
  const float* Row(uint32_t row) const override {
    return values_.data() + size_t{row} * static_cast<size_t>(dimension_);
  }

 private:
  const std::vector<float>& values_;
  const int dimension_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_CLUSTER_H_
