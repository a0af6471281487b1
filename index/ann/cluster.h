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

struct ClusterOptions {
  uint32_t lists = 0;  // at most this many come out; 0: chosen from the number of rows
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
};

// Spherical k-means over what remains of the rows without their `mean`: the part shared by all
// rows would make every list look alike. No list is empty. CANCELLED when told so.
absl::StatusOr<Clusters> ClusterRows(const VectorSource& vectors, absl::Span<const float> mean,
                                     const ClusterOptions& options);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_CLUSTER_H_
