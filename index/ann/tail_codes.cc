#include "index/ann/tail_codes.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace imagesearch::index {
namespace {

constexpr float kMaxCode = 127;
constexpr float kLikelyDeviations = 3.5f;
// As in codes.cc, for the float32 sum that the bound is compared with, and the bound's own terms.
constexpr float kRoundings = 4;
constexpr float kOwnTerms = 16;
// Upwards, where a double becomes a float.
float Above(double x) { return static_cast<float>(x * (1 + 1e-6)); }

}  // namespace

QueryCode EncodeQueryCode(const float* query, int dimension) {
  QueryCode coded;
  coded.code.assign(CodeStride(dimension), 0);
  float largest = 0;
  double norm2 = 0;
  for (int j = 0; j < dimension; ++j) {
    largest = std::max(largest, std::fabs(query[j]));
    norm2 += static_cast<double>(query[j]) * query[j];
  }
  coded.norm = Above(std::sqrt(norm2));
  coded.scale = largest > 1e-30f ? largest / kMaxCode : 0;
  const float inverse = coded.scale > 0 ? 1 / coded.scale : 0;
  double error2 = 0;
  int32_t sum = 0;
  for (int j = 0; j < dimension; ++j) {
    const auto c =
        static_cast<int>(std::lrintf(std::clamp(query[j] * inverse, -kMaxCode, kMaxCode)));
    coded.code[j] = static_cast<int8_t>(c);
    sum += c;
    const double miss = static_cast<double>(query[j]) - static_cast<double>(coded.scale) * c;
    error2 += miss * miss;
  }
  coded.offset = 128 * sum;
  coded.error = Above(std::sqrt(error2));
  return coded;
}

TailCodes::TailCodes(int dimension, uint32_t capacity)
    : dimension_(dimension),
      stride_(CodeStride(dimension)),
      zero_(static_cast<size_t>(dimension), 0.0f),
      codes_(capacity * stride_, 128),
      scales_(capacity),
      errors_(capacity),
      norms_(capacity) {}

void TailCodes::Set(uint32_t row, const float* x) {
  const RowCode coded = EncodeRow(x, zero_, codes_.data() + row * stride_);
  scales_[row] = coded.scale;
  errors_[row] = Above(coded.error);
  norms_[row] = Above(coded.norm);
}

TailCodes::Slack TailCodes::SlackOf(const QueryCode& query, ErrorBound bound) const {
  const auto d = static_cast<float>(dimension_);
  return {bound == ErrorBound::kProved ? 1.0f : std::min(1.0f, kLikelyDeviations / std::sqrt(d)),
          kRoundings * (d + kOwnTerms) * std::numeric_limits<float>::epsilon() * query.norm};
}

void TailCodes::UpperBounds(const QueryCode& query, ErrorBound bound, uint32_t rows,
                            float* bounds) const {
  constexpr uint32_t kBlock = 128;
  int32_t dots[kBlock];
  const Slack slack = SlackOf(query, bound);
  for (uint32_t first = 0; first < rows; first += kBlock) {
    const uint32_t n = std::min(kBlock, rows - first);
    Simd().dot_rows(codes_.data() + first * stride_, stride_, n, query.code.data(), dots);
    for (uint32_t i = 0; i < n; ++i) {
      bounds[first + i] = UpperBound(query, slack, first + i, dots[i]);
    }
  }
}

void TailCodes::UpperBoundsAt(const QueryCode& query, ErrorBound bound, const uint32_t* rows,
                              uint32_t n, float* bounds) const {
  int32_t dots[kMaxGathered];
  const Slack slack = SlackOf(query, bound);
  Simd().dot_gather(codes_.data(), stride_, rows, n, query.code.data(), dots);
  for (uint32_t i = 0; i < n; ++i) bounds[i] = UpperBound(query, slack, rows[i], dots[i]);
}

}  // namespace imagesearch::index
