// Weighted sums of 8-bit pixels in 32-bit integers, sixteen pixels at a time. Rows are resized by
// turning blocks of sixteen of them, so that one pixel of all sixteen lies side by side, and then
// treating them as columns. Plain C++ and GCC's vector extension: compiled for several x86 targets,
// of which the loader picks, and portable.
#include "encoder/image/resize_kernels.h"

#include <algorithm>
#include <cstring>

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && \
    !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
#define IMAGESEARCH_MULTI_TARGET __attribute__((target_clones("arch=x86-64-v4", "avx2", "default")))
#else
#define IMAGESEARCH_MULTI_TARGET
#endif

namespace imagesearch::encoder {
namespace {

constexpr int kRows = 16;          // rows of a block
constexpr int kLanes = 3 * kRows;  // channel values summed side by side
constexpr int32_t kHalf = 1 << (kResizeBits - 1);

// out[i] = the sum over k < length of weights[k] * data[k * stride + i], for i < kLanes, rounded
// and clipped.
IMAGESEARCH_MULTI_TARGET
void Sum(const uint8_t* __restrict data, size_t stride, const int32_t* __restrict weights,
         int length, uint8_t* __restrict out) {
  int32_t sums[kLanes];
  for (int i = 0; i < kLanes; ++i) sums[i] = kHalf;
  for (int k = 0; k < length; ++k) {
    const uint8_t* __restrict values = data + stride * static_cast<size_t>(k);
    const int32_t weight = weights[k];
    for (int i = 0; i < kLanes; ++i) sums[i] += values[i] * weight;
  }
  for (int i = 0; i < kLanes; ++i) {
    const int32_t value = sums[i] >> kResizeBits;
    out[i] = static_cast<uint8_t>(value < 0 ? 0 : value > 255 ? 255 : value);
  }
}

using Bytes16 = uint8_t __attribute__((vector_size(16)));

inline Bytes16 Low(Bytes16 a, Bytes16 b) {
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}
inline Bytes16 High(Bytes16 a, Bytes16 b) {
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15,
                                 31);
}

// to[j][i] = from[i][j] for 16 x 16 bytes; strides in bytes.
void Transpose16(const uint8_t* from, size_t from_stride, uint8_t* to, size_t to_stride) {
  Bytes16 a[16], b[16];
  for (size_t i = 0; i < 16; ++i) std::memcpy(&a[i], from + i * from_stride, 16);
  // Interleaving rows eight apart, four times over, swaps the index's halves bit by bit.
  for (int round = 0; round < 4; ++round) {
    for (int i = 0; i < 8; ++i) {
      b[2 * i] = Low(a[i], a[i + 8]);
      b[2 * i + 1] = High(a[i], a[i + 8]);
    }
    std::memcpy(a, b, sizeof(a));
  }
  for (size_t i = 0; i < 16; ++i) std::memcpy(to + i * to_stride, &a[i], 16);
}

// to[j][i] = from[i][j] for `rows` <= 16 rows of `columns` bytes, into columns of 16 bytes.
void TurnRows(const uint8_t* from, size_t stride, int rows, int columns, uint8_t* to) {
  int column = 0;
  if (rows == kRows) {
    for (; column + 16 <= columns; column += 16) {
      Transpose16(from + column, stride, to + size_t{kRows} * column, kRows);
    }
  }
  for (; column < columns; ++column) {
    for (int row = 0; row < rows; ++row) {
      to[size_t{kRows} * column + row] = from[stride * row + column];
    }
  }
}

// The way back: to[i][j] = from[j][i].
void TurnColumns(const uint8_t* from, int rows, int columns, uint8_t* to, size_t stride) {
  int column = 0;
  if (rows == kRows) {
    for (; column + 16 <= columns; column += 16) {
      Transpose16(from + size_t{kRows} * column, kRows, to + column, stride);
    }
  }
  for (; column < columns; ++column) {
    for (int row = 0; row < rows; ++row) {
      to[stride * row + column] = from[size_t{kRows} * column + row];
    }
  }
}

const int32_t* WeightsOf(const ResizeTaps& taps, int output) {
  return &taps.weights[static_cast<size_t>(output) * static_cast<size_t>(taps.stride)];
}

}  // namespace

void ResizeRows(const RgbView& source, const ResizeTaps& taps, RgbImage& result) {
  // Only the source columns that are needed.
  const int first = taps.start.front();
  const int columns = 3 * (taps.start.back() + taps.length.back() - first);
  std::vector<uint8_t> turned(size_t{kRows} * columns);
  std::vector<uint8_t> summed(size_t{kLanes} * result.width);
  const size_t result_stride = size_t{3} * result.width;
  for (int top = 0; top < result.height; top += kRows) {
    const int rows = std::min(kRows, result.height - top);
    TurnRows(source.row(top) + size_t{3} * first, source.stride, rows, columns, turned.data());
    for (int x = 0; x < result.width; ++x) {
      Sum(&turned[size_t{kLanes} * (taps.start[x] - first)], kLanes, WeightsOf(taps, x),
          taps.length[x], &summed[size_t{kLanes} * x]);
    }
    TurnColumns(summed.data(), rows, 3 * result.width, result.row(top), result_stride);
  }
}

void ResizeColumns(const RgbView& source, const ResizeTaps& taps, RgbImage& result) {
  const int count = 3 * result.width;
  std::vector<uint8_t> padded;  // the last columns, where they are fewer than kLanes
  for (int y = 0; y < result.height; ++y) {
    const uint8_t* rows = source.row(taps.start[y]);
    const int32_t* weights = WeightsOf(taps, y);
    uint8_t* out = result.row(y);
    int i = 0;
    for (; i + kLanes <= count; i += kLanes) {
      Sum(rows + i, source.stride, weights, taps.length[y], out + i);
    }
    if (i == count) continue;
    const auto rest = static_cast<size_t>(count - i);
    const auto length = static_cast<size_t>(taps.length[y]);
    padded.assign(kLanes * (length + 1), 0);
    for (size_t k = 0; k < length; ++k) {
      std::memcpy(&padded[kLanes * k], rows + i + source.stride * k, rest);
    }
    uint8_t* last = &padded[kLanes * length];
    Sum(padded.data(), kLanes, weights, taps.length[y], last);
    std::memcpy(out + i, last, rest);
  }
}

}  // namespace imagesearch::encoder
