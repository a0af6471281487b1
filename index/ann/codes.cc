// 8-bit codes of rows and queries, and their error bounds.
#include "index/ann/codes.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <mutex>

#include "index/ann/byte_stream.h"
#include "index/ann/parallel.h"

namespace imagesearch::index {
namespace {

constexpr float kMaxCode = 127;
// Float32 sums of d products of numbers whose vectors have length <= L err by at most
// d * epsilon * L^2 (Higham, Accuracy and Stability of Numerical Algorithms, section 3.1); a few
// such sums meet in one comparison.
constexpr float kRoundings = 4;

// value / scale, rounded and kept in range; NaN gives 0.
int Code(float value, float inverse_scale) {
  const float x = value * inverse_scale;
  if (!(x == x)) return 0;
  return static_cast<int>(std::lrintf(std::clamp(x, -kMaxCode, kMaxCode)));
}

}  // namespace

RowCode EncodeRow(const float* x, absl::Span<const float> mean, uint8_t* code) {
  const SimdKernels& simd = Simd();
  const float largest = simd.largest(x, mean.data(), mean.size());
  RowCode row;
  // Below this the inverse would overflow; such a row equals the mean.
  row.scale = largest > 1e-30f ? largest / kMaxCode : 0;
  const float inverse = row.scale > 0 ? 1 / row.scale : 0;
  const CodeSums sums = simd.encode(x, mean.data(), mean.size(), row.scale, inverse, code);
  // The rounding of x - mean is one of those that kRoundings allows for.
  row.error = std::sqrt(sums.error2);
  row.norm = std::sqrt(sums.norm2);
  return row;
}

std::vector<float> MeanOf(const VectorSource& source, int threads) {
  const uint32_t n = source.rows();
  const int d = source.dimension();
  std::mutex mutex;
  std::vector<double> sums(d, 0.0);
  ParallelFor(n, threads, 4096, [&](uint32_t begin, uint32_t end) {
    std::vector<double> local(d, 0.0);
    for (uint32_t i = begin; i < end; ++i) {
      const float* x = source.Row(i);
      for (int j = 0; j < d; ++j) local[j] += x[j];
    }
    std::lock_guard lock(mutex);
    for (int j = 0; j < d; ++j) sums[j] += local[j];
  });
  std::vector<float> mean(d);
  for (int j = 0; j < d; ++j) mean[j] = n == 0 ? 0 : static_cast<float>(sums[j] / n);
  return mean;
}

EncodedRows EncodedRows::Encode(const VectorSource& source, std::vector<float> mean,
                                absl::Span<const uint32_t> order, int threads) {
  EncodedRows rows;
  const uint32_t n = source.rows();
  rows.dimension_ = source.dimension();
  rows.stride_ = CodeStride(rows.dimension_);
  rows.mean_ = std::move(mean);
  rows.scales_.resize(n);
  rows.codes_.resize(size_t{n} * rows.stride_, 128);
  std::mutex mutex;
  ParallelFor(n, threads, 1024, [&](uint32_t begin, uint32_t end) {
    double ratio = 0, norm = 0, flat = 0;
    for (uint32_t i = begin; i < end; ++i) {
      const RowCode row = EncodeRow(source.Row(order.empty() ? i : order[i]), rows.mean_,
                                    rows.codes_.data() + i * rows.stride_);
      rows.scales_[i] = row.scale;
      norm = std::max(norm, row.norm);
      if (row.scale > 0) {
        ratio = std::max(ratio, row.error / row.scale);
      } else {
        flat = std::max(flat, row.error);
      }
    }
    std::lock_guard lock(mutex);
    rows.error_ratio_ = std::max(rows.error_ratio_, static_cast<float>(ratio * (1 + 1e-6)));
    rows.max_norm_ = std::max(rows.max_norm_, static_cast<float>(norm * (1 + 1e-6)));
    rows.flat_error_ = std::max(rows.flat_error_, static_cast<float>(flat * (1 + 1e-6)));
  });
  return rows;
}

EncodedQuery EncodedRows::EncodeQuery(const float* query) const {
  EncodedQuery coded;
  coded.code.assign(stride_, 0);
  float largest = 0;
  double norm2 = 0;
  for (int j = 0; j < dimension_; ++j) {
    largest = std::max(largest, std::fabs(query[j]));
    norm2 += static_cast<double>(query[j]) * query[j];
  }
  coded.norm = static_cast<float>(std::sqrt(norm2) * (1 + 1e-6));
  coded.scale = largest > 1e-30f ? largest / kMaxCode : 0;
  const float inverse = coded.scale > 0 ? 1 / coded.scale : 0;
  double error2 = 0;
  int32_t sum = 0;
  for (int j = 0; j < dimension_; ++j) {
    const int c = Code(query[j], inverse);
    coded.code[j] = static_cast<int8_t>(c);
    sum += c;
    const double miss = static_cast<double>(query[j]) - static_cast<double>(coded.scale) * c;
    error2 += miss * miss;
  }
  coded.offset = 128 * sum;
  coded.base = Simd().dot_f32(query, mean_.data(), static_cast<size_t>(dimension_));
  const float rounding = kRoundings * static_cast<float>(dimension_) *
                         std::numeric_limits<float>::epsilon() * coded.norm;
  coded.error = static_cast<float>(std::sqrt(error2) * (1 + 1e-6)) * max_norm_ +
                coded.norm * flat_error_ + rounding;
  coded.row_error = coded.norm * error_ratio_;
  return coded;
}

uint64_t EncodedRows::memory_bytes() const {
  return codes_.size() + (scales_.size() + mean_.size()) * sizeof(float);
}

void EncodedRows::Save(ByteSink& sink) const {
  WriteValue(sink, error_ratio_);
  WriteValue(sink, max_norm_);
  WriteValue(sink, flat_error_);
  WriteArray(sink, mean_);
  WriteArray(sink, scales_);
  WriteArray(sink, codes_);
}

bool EncodedRows::Load(ByteSource& source, uint32_t rows, int dimension) {
  dimension_ = dimension;
  stride_ = CodeStride(dimension);
  if (!ReadValue(source, error_ratio_) || !ReadValue(source, max_norm_) ||
      !ReadValue(source, flat_error_) ||
      !ReadArray(source, static_cast<uint64_t>(dimension), mean_) ||
      !ReadArray(source, rows, scales_) || !ReadArray(source, uint64_t{rows} * stride_, codes_)) {
    return false;
  }
  const auto sane = [](float x) { return std::isfinite(x) && x >= 0; };
  return sane(error_ratio_) && sane(max_norm_) && sane(flat_error_) &&
         std::all_of(scales_.begin(), scales_.end(), sane) &&
         std::all_of(mean_.begin(), mean_.end(), [](float x) { return std::isfinite(x); });
}

}  // namespace imagesearch::index
