// 8-bit codes of vectors, with an error bound that is proved and not assumed.
//
// A row x is coded as x ~ mean + scale * c with c in [-127, 127]^d: the mean over all rows is left
// out because CLIP's image vectors share a large common part, and each row has a scale of its own.
// A query q is coded likewise as q ~ query_scale * p. Then
//   score(q, x) = q.mean + query_scale * scale * (c.p) + e,
//   |e| <= |q| * |x - mean - scale * c| + |q - query_scale * p| * |scale * c| + rounding
// by Cauchy-Schwarz, which EncodedQuery and EncodedRows bound from stored norms.
#ifndef IMAGESEARCH_INDEX_ANN_CODES_H_
#define IMAGESEARCH_INDEX_ANN_CODES_H_

#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "index/ann/aligned.h"
#include "index/ann/ann_index.h"
#include "index/ann/simd.h"

namespace imagesearch::index {

// What coding one row left.
struct RowCode {
  float scale = 0;
  double error = 0;  // |x - mean - scale * c|
  double norm = 0;   // |scale * c|
};

// Codes `x` into mean.size() bytes at `code`.
RowCode EncodeRow(const float* x, absl::Span<const float> mean, uint8_t* code);

// Mean of all rows; zero for none.
std::vector<float> MeanOf(const VectorSource& source, int threads);

// A query as codes; valid with the EncodedRows that made it.
struct EncodedQuery {
  AlignedVector<int8_t> code;  // stride() values, the padding 0
  float base = 0;              // q . mean
  float scale = 0;
  int32_t offset = 0;   // 128 * sum of code: what unsigned row codes add to every dot product
  float norm = 0;       // |q|
  float error = 0;      // bound of the error that doesn't grow with a row's scale
  float row_error = 0;  // bound of the rest, in units of a row's scale
};

// (n, d) row-major codes by position, immutable after Encode or Load. Thread-safe.
class EncodedRows {
 public:
  EncodedRows() = default;

  // Codes row order[i] of `source` at position i, less `mean` (MeanOf). An empty `order` is the
  // identity. `threads` >= 1.
  static EncodedRows Encode(const VectorSource& source, std::vector<float> mean,
                            absl::Span<const uint32_t> order, int threads);

  int dimension() const { return dimension_; }
  size_t stride() const { return stride_; }
  uint32_t rows() const { return static_cast<uint32_t>(scales_.size()); }
  const uint8_t* codes() const { return codes_.data(); }
  const uint8_t* code(uint32_t position) const { return codes_.data() + position * stride_; }
  const float* scales() const { return scales_.data(); }
  absl::Span<const float> mean() const { return mean_; }
  uint64_t memory_bytes() const;

  // `query`: dimension() finite values.
  EncodedQuery EncodeQuery(const float* query) const;

  // Scores without the error: in order of `dots`, which a dot kernel gave.
  float Score(const EncodedQuery& query, uint32_t position, int32_t dot) const {
    return query.base + scales_[position] * query.scale * static_cast<float>(dot - query.offset);
  }

  void Save(ByteSink& sink) const;
  // false when the stream is short or its numbers are impossible.
  bool Load(ByteSource& source, uint32_t rows, int dimension);

 private:
  int dimension_ = 0;
  size_t stride_ = 0;
  std::vector<float> mean_;
  std::vector<float> scales_;
  float error_ratio_ = 0;  // max over rows of |x - mean - scale * c| / scale
  float max_norm_ = 0;     // max over rows of |scale * c|
  float flat_error_ = 0;   // max |x - mean - scale * c| over rows whose scale is 0
  AlignedVector<uint8_t> codes_;
};

// Bytes between rows of codes.
inline size_t CodeStride(int dimension) {
  return (static_cast<size_t>(dimension) + kCodeAlignment - 1) / kCodeAlignment * kCodeAlignment;
}

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_CODES_H_
