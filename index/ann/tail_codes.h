// 8-bit codes of rows that are being added: a scan of them says which rows can't be among the best,
// by the same proved bound as in codes.h but without a mean, which nobody knows yet.
#ifndef IMAGESEARCH_INDEX_ANN_TAIL_CODES_H_
#define IMAGESEARCH_INDEX_ANN_TAIL_CODES_H_

#include <cstdint>
#include <vector>

#include "index/ann/aligned.h"
#include "index/ann/collector.h"

namespace imagesearch::index {

// A query q ~ scale * code.
struct QueryCode {
  AlignedVector<int8_t> code;  // CodeStride() values, the padding 0
  float scale = 0;
  int32_t offset = 0;  // 128 * sum of code
  float norm = 0;      // |q|
  float error = 0;     // |q - scale * code|
};

// `query`: `dimension` finite values.
QueryCode EncodeQueryCode(const float* query, int dimension);

// Room for `capacity` rows. One thread sets rows; others may read those that were set before they
// learnt of them.
class TailCodes {
 public:
  TailCodes(int dimension, uint32_t capacity);

  void Set(uint32_t row, const float* x);
  // bounds[i]: no less than the inner product of `query` and row i, for i in [0, rows); with
  // kLikely nearly always.
  void UpperBounds(const QueryCode& query, ErrorBound bound, uint32_t rows, float* bounds) const;

  // The same for the `n` rows at `rows`, n <= kMaxGathered: bounds[i] belongs to rows[i].
  void UpperBoundsAt(const QueryCode& query, ErrorBound bound, const uint32_t* rows, uint32_t n,
                     float* bounds) const;
  static constexpr uint32_t kMaxGathered = 128;

  uint64_t memory_bytes() const { return codes_.size() + 3 * scales_.size() * sizeof(float); }

 private:
  // Weight of the proved bound, and the rounding error of the sums that are compared with it.
  struct Slack {
    float part, rounding;
  };
  Slack SlackOf(const QueryCode& query, ErrorBound bound) const;
  float UpperBound(const QueryCode& query, const Slack& slack, uint32_t row, int32_t dot) const {
    return scales_[row] * query.scale * static_cast<float>(dot - query.offset) +
           slack.part * (query.norm * errors_[row] + query.error * norms_[row]) + slack.rounding;
  }

  const int dimension_;
  const size_t stride_;
  const std::vector<float> zero_;  // the mean
  AlignedVector<uint8_t> codes_;
  std::vector<float> scales_, errors_, norms_;  // RowCode of each row
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_TAIL_CODES_H_
