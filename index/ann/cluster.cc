// Spherical k-means over 8-bit codes.
#include "index/ann/cluster.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <numeric>
#include <random>

#include "base/error.h"
#include "index/ann/codes.h"
#include "index/ann/parallel.h"

namespace imagesearch::index {
namespace {

constexpr int kIterations = 8;
constexpr uint32_t kTrainingRowsPerList = 40;
constexpr uint32_t kRowBlock = 256;
constexpr size_t kCentroidBlock = 32;
// Lists for n rows: this times sqrt(n). Finer lists need a smaller part of the rows read, until
// ranking the lists costs as much (measured at 50,000 and 100,000 rows).
constexpr double kListsPerRoot = 6.5;
constexpr double kGroupsPerRoot = 1.5;  // groups for n lists: this times sqrt(n)

// Centroids, less the mean, of length 1: floats and the codes that rows are compared with.
class Centroids {
 public:
  Centroids(uint32_t lists, int dimension)
      : lists_(lists),
        dimension_(dimension),
        stride_(CodeStride(dimension)),
        values_(size_t{lists} * dimension),
        codes_(size_t{lists} * stride_, 0),
        scales_(lists),
        offsets_(lists) {}

  uint32_t lists() const { return lists_; }
  float* value(uint32_t list) { return values_.data() + size_t{list} * dimension_; }

  // To be called for each list when its values have changed.
  void Encode(uint32_t list) {
    const std::vector<float> zero(dimension_, 0.0f);
    std::vector<uint8_t> code(stride_, 128);
    scales_[list] = EncodeRow(value(list), zero, code.data()).scale;
    int32_t sum = 0;
    for (size_t j = 0; j < stride_; ++j) {
      const int c = static_cast<int>(code[j]) - 128;
      codes_[size_t{list} * stride_ + j] = static_cast<int8_t>(c);
      sum += c;
    }
    offsets_[list] = 128 * sum;
  }

  // The nearest list of each of `n` <= kRowBlock coded rows.
  void Nearest(const uint8_t* rows, size_t n, uint32_t* nearest) const {
    float best[kRowBlock];
    int32_t dots[kCentroidBlock * kRowBlock];
    std::fill_n(best, kRowBlock, -std::numeric_limits<float>::infinity());
    std::fill_n(nearest, n, 0);
    for (uint32_t first = 0; first < lists_; first += kCentroidBlock) {
      const size_t count = std::min<size_t>(kCentroidBlock, lists_ - first);
      Simd().dot_tile(rows, stride_, n, codes_.data() + first * stride_, count, dots, kRowBlock);
      for (uint32_t c = 0; c < count; ++c) {
        const float scale = scales_[first + c];
        const int32_t offset = offsets_[first + c];
        const int32_t* dot = dots + c * kRowBlock;
        for (size_t i = 0; i < n; ++i) {
          const float score = scale * static_cast<float>(dot[i] - offset);
          nearest[i] = score > best[i] ? first + c : nearest[i];
          best[i] = score > best[i] ? score : best[i];
        }
      }
    }
  }

 private:
  const uint32_t lists_;
  const int dimension_;
  const size_t stride_;
  std::vector<float> values_;
  AlignedVector<int8_t> codes_;
  std::vector<float> scales_;
  std::vector<int32_t> offsets_;
};

// Rows by list: a counting sort.
void Group(const std::vector<uint32_t>& list_of, uint32_t lists, std::vector<uint32_t>& offsets,
           std::vector<uint32_t>& members) {
  offsets.assign(lists + 1, 0);
  for (uint32_t list : list_of) ++offsets[list + 1];
  std::partial_sum(offsets.begin(), offsets.end(), offsets.begin());
  members.resize(list_of.size());
  std::vector<uint32_t> next(offsets.begin(), offsets.end() - 1);
  for (uint32_t i = 0; i < list_of.size(); ++i) members[next[list_of[i]]++] = i;
}

class KMeans {
 public:
  KMeans(const VectorSource& vectors, absl::Span<const float> mean, const ClusterOptions& options,
         uint32_t lists)
      : vectors_(vectors), mean_(mean), options_(options), centroids_(lists, vectors.dimension()) {}

  // false: cancelled.
  bool Train() {
    const uint32_t n = vectors_.rows();
    std::vector<uint32_t> sample(n);
    std::iota(sample.begin(), sample.end(), 0);
    std::shuffle(sample.begin(), sample.end(), random_);
    sample.resize(std::min<uint64_t>(n, uint64_t{kTrainingRowsPerList} * centroids_.lists()));
    for (uint32_t c = 0; c < centroids_.lists(); ++c) Restart(c, sample[c]);
    std::vector<uint32_t> list_of, offsets, members;
    for (int i = 0; i < kIterations; ++i) {
      if (!Assign(sample, list_of)) return false;
      Group(list_of, centroids_.lists(), offsets, members);
      Update(sample, offsets, members);
    }
    return true;
  }

  // The nearest list of each of `rows`. false: cancelled.
  bool Assign(const std::vector<uint32_t>& rows, std::vector<uint32_t>& list_of) const {
    const size_t stride = CodeStride(vectors_.dimension());
    list_of.resize(rows.size());
    ParallelFor(static_cast<uint32_t>(rows.size()), options_.threads, kRowBlock,
                [&](uint32_t begin, uint32_t end) {
                  if (Cancelled()) return;
                  AlignedVector<uint8_t> codes(size_t{end - begin} * stride, 128);
                  for (uint32_t i = begin; i < end; ++i) {
                    EncodeRow(vectors_.Row(rows[i]), mean_, codes.data() + (i - begin) * stride);
                  }
                  centroids_.Nearest(codes.data(), end - begin, list_of.data() + begin);
                });
    return !Cancelled();
  }

 private:
  bool Cancelled() const { return options_.cancelled != nullptr && *options_.cancelled; }

  // Adds what remains of a row, at length 1.
  void Accumulate(uint32_t row, double* sum) const {
    const float* x = vectors_.Row(row);
    float norm2 = 0;
    for (size_t j = 0; j < mean_.size(); ++j) norm2 += (x[j] - mean_[j]) * (x[j] - mean_[j]);
    if (!(norm2 > 1e-20f)) return;
    const float inverse = 1 / std::sqrt(norm2);
    for (size_t j = 0; j < mean_.size(); ++j) sum[j] += (x[j] - mean_[j]) * inverse;
  }

  void Store(uint32_t list, const std::vector<double>& sum) {
    double norm2 = 0;
    for (double s : sum) norm2 += s * s;
    const double inverse = norm2 > 0 ? 1 / std::sqrt(norm2) : 0;
    for (size_t j = 0; j < sum.size(); ++j) {
      centroids_.value(list)[j] = static_cast<float>(sum[j] * inverse);
    }
    centroids_.Encode(list);
  }

  void Restart(uint32_t list, uint32_t row) {
    std::vector<double> sum(mean_.size(), 0.0);
    Accumulate(row, sum.data());
    Store(list, sum);
  }

  void Update(const std::vector<uint32_t>& sample, const std::vector<uint32_t>& offsets,
              const std::vector<uint32_t>& members) {
    std::vector<uint32_t> seeds(centroids_.lists());  // drawn here, so that threads don't matter
    for (uint32_t& seed : seeds) seed = sample[random_() % sample.size()];
    ParallelFor(centroids_.lists(), options_.threads, 16, [&](uint32_t begin, uint32_t end) {
      std::vector<double> sum(mean_.size());
      for (uint32_t list = begin; list < end; ++list) {
        if (offsets[list] == offsets[list + 1]) {
          Restart(list, seeds[list]);
          continue;
        }
        std::fill(sum.begin(), sum.end(), 0.0);
        for (uint32_t i = offsets[list]; i < offsets[list + 1]; ++i) {
          Accumulate(sample[members[i]], sum.data());
        }
        Store(list, sum);
      }
    });
  }

  const VectorSource& vectors_;
  const absl::Span<const float> mean_;
  const ClusterOptions& options_;
  Centroids centroids_;
  std::mt19937_64 random_{1234};
};

// Splits rows into `lists`; leaves the groups empty.
absl::StatusOr<Clusters> Split(const VectorSource& vectors, absl::Span<const float> mean,
                               const ClusterOptions& options, uint32_t lists) {
  const absl::Status cancelled =
      Error(absl::StatusCode::kCancelled, "CANCELLED", "index build cancelled");
  const uint32_t n = vectors.rows();
  const size_t d = mean.size();
  Clusters clusters;
  KMeans k_means(vectors, mean, options, lists);
  if (!k_means.Train()) return cancelled;
  std::vector<uint32_t> all(n), list_of, offsets;
  std::iota(all.begin(), all.end(), 0);
  if (!k_means.Assign(all, list_of)) return cancelled;
  Group(list_of, lists, offsets, clusters.order);
  clusters.offsets.push_back(0);
  for (uint32_t i = 0; i < lists; ++i) {
    if (offsets[i + 1] > offsets[i]) clusters.offsets.push_back(offsets[i + 1]);
  }

  const uint32_t kept = static_cast<uint32_t>(clusters.offsets.size() - 1);
  clusters.centroids.resize(kept * d);
  ParallelFor(kept, options.threads, 16, [&](uint32_t begin, uint32_t end) {
    std::vector<double> sum(d);
    for (uint32_t list = begin; list < end; ++list) {
      std::fill(sum.begin(), sum.end(), 0.0);
      for (uint32_t i = clusters.offsets[list]; i < clusters.offsets[list + 1]; ++i) {
        const float* x = vectors.Row(clusters.order[i]);
        for (size_t j = 0; j < d; ++j) sum[j] += x[j];
      }
      double norm2 = 0;
      for (double s : sum) norm2 += s * s;
      const double inverse = norm2 > 0 ? 1 / std::sqrt(norm2) : 0;
      for (size_t j = 0; j < d; ++j) {
        clusters.centroids[list * d + j] = static_cast<float>(sum[j] * inverse);
      }
    }
  });
  return clusters;
}

// Puts the lists into the order of their groups.
Clusters Arrange(const Clusters& lists, const Clusters& groups, size_t d) {
  Clusters arranged;
  arranged.offsets.push_back(0);
  for (uint32_t list : groups.order) {
    arranged.order.insert(arranged.order.end(), lists.order.begin() + lists.offsets[list],
                          lists.order.begin() + lists.offsets[list + 1]);
    arranged.offsets.push_back(static_cast<uint32_t>(arranged.order.size()));
    const auto centroid = lists.centroids.begin() + static_cast<ptrdiff_t>(list * d);
    arranged.centroids.insert(arranged.centroids.end(), centroid,
                              centroid + static_cast<ptrdiff_t>(d));
  }
  arranged.group_offsets = groups.offsets;
  arranged.group_centroids = groups.centroids;
  return arranged;
}

}  // namespace

uint32_t ListsFor(uint32_t rows) {
  return static_cast<uint32_t>(std::clamp(kListsPerRoot * std::sqrt(rows), 1.0, 65'536.0));
}

uint32_t GroupsFor(uint32_t lists) {
  return static_cast<uint32_t>(std::ceil(kGroupsPerRoot * std::sqrt(lists)));
}

absl::StatusOr<Clusters> ClusterRows(const VectorSource& vectors, absl::Span<const float> mean,
                                     const ClusterOptions& options) {
  const uint32_t n = vectors.rows();
  if (n == 0) {
    Clusters none;
    none.offsets = {0};
    none.group_offsets = {0};
    return none;
  }
  absl::StatusOr<Clusters> lists =
      Split(vectors, mean, options, std::min(n, options.lists > 0 ? options.lists : ListsFor(n)));
  if (!lists.ok()) return lists.status();
  const MatrixSource centroids(lists->centroids, vectors.dimension());
  absl::StatusOr<Clusters> grouped = Split(centroids, MeanOf(centroids, options.threads), options,
                                           std::min(GroupsFor(centroids.rows()), centroids.rows()));
  if (!grouped.ok()) return grouped.status();
  return Arrange(*lists, *grouped, mean.size());
}

}  // namespace imagesearch::index
