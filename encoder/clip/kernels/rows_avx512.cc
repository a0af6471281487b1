// Norms, quantisation and attention, row by row. Compiled for AVX-512; see gemm.h.

#include "encoder/clip/kernels/gemm.h"
#include "encoder/clip/kernels/tile.h"
#include "encoder/clip/kernels/vector_math.h"

namespace imagesearch::encoder::kernels {
namespace {

int64_t RoundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

__m512 LoadRow(Number number, const void* row, int64_t at, __mmask16 lanes) {
  if (number == Number::kFp32)
    return _mm512_maskz_loadu_ps(lanes, static_cast<const float*>(row) + at);
  return LoadBf16(static_cast<const uint16_t*>(row) + at, lanes);
}

// The 8-bit scale and zero of a row with these extremes. Zero itself is kept exact.
struct Quantiser {
  float scale;
  int32_t zero;
  float inverse;

  Quantiser(float low, float high) {
    low = __builtin_fminf(low, 0);
    high = __builtin_fmaxf(high, 0);
    scale = (high - low) / 255;
    if (scale <= 1e-30f) scale = 1;  // NaN stays NaN
    inverse = 1 / scale;
    zero = static_cast<int32_t>(__builtin_lrintf(-low * inverse));
  }

  void Store(uint8_t* to, __mmask16 lanes, __m512 x) const {
    const __m512i rounded = _mm512_add_epi32(
        _mm512_cvtps_epi32(_mm512_mul_ps(x, _mm512_set1_ps(inverse))), _mm512_set1_epi32(zero));
    const __m512i positive = _mm512_max_epi32(rounded, _mm512_setzero_si512());
    _mm_mask_storeu_epi8(to, lanes, _mm512_cvtusepi32_epi8(positive));
  }
};

// Turns scores[0, count) into weights that sum to 1; scores[count, padded) become 0.
void Softmax(float* scores, int64_t count, int64_t padded) {
  __m512 highest = _mm512_set1_ps(-__builtin_inff());
  for (int64_t i = 0; i < count; i += kLanes) {
    const __mmask16 lanes = FirstLanes(count - i);
    highest = _mm512_mask_max_ps(highest, lanes, highest, _mm512_loadu_ps(scores + i));
  }
  const __m512 top = _mm512_set1_ps(_mm512_reduce_max_ps(highest));
  __m512 total = _mm512_setzero_ps();
  for (int64_t i = 0; i < padded; i += kLanes) {
    const __mmask16 lanes = count > i ? FirstLanes(count - i) : __mmask16(0);
    const __m512 e =
        _mm512_maskz_mov_ps(lanes, Exp(_mm512_sub_ps(_mm512_loadu_ps(scores + i), top)));
    total = _mm512_add_ps(total, e);
    _mm512_storeu_ps(scores + i, e);
  }
  const __m512 scale = _mm512_set1_ps(1 / _mm512_reduce_add_ps(total));
  for (int64_t i = 0; i < padded; i += kLanes)
    _mm512_storeu_ps(scores + i, _mm512_mul_ps(_mm512_loadu_ps(scores + i), scale));
}

// (rows x steps) times (steps x columns * 16) in fp32 -> out, rows `out_stride` apart.
template <int kRows, int kColumns>
void SmallProduct(const float* a, int64_t a_stride, const float* b, int64_t b_stride, int64_t steps,
                  float* out, int64_t out_stride) {
  __m512 sums[kRows][kColumns];
  TileSums<Fp32Dot, kRows, kColumns, 0>(reinterpret_cast<const uint8_t*>(a), a_stride * 4,
                                        reinterpret_cast<const uint8_t*>(b), b_stride * 4, steps,
                                        nullptr, sums);
#pragma GCC unroll 6
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 4
    for (int c = 0; c < kColumns; ++c)
      _mm512_storeu_ps(out + r * out_stride + kLanes * c, sums[r][c]);
  }
}

template <int kRows>
void SmallProductRows(const float* a, int64_t a_stride, const float* b, int64_t b_stride,
                      int64_t steps, int64_t columns, float* out, int64_t out_stride) {
  int64_t c = 0;
  for (; c + 64 <= columns; c += 64)
    SmallProduct<kRows, 4>(a, a_stride, b + c, b_stride, steps, out + c, out_stride);
  for (; c < columns; c += kLanes)
    SmallProduct<kRows, 1>(a, a_stride, b + c, b_stride, steps, out + c, out_stride);
}

}  // namespace

int64_t AttentionScratch(int64_t length, int64_t head_width) {
  const int64_t keys = RoundUp(length, kLanes), width = RoundUp(head_width, kLanes);
  // Keys transposed, values, a tile of queries, of scores and of results.
  return width * keys + keys * width + kTileRows * (width + keys + width);
}

void Attend(const Attention& attention) {
  const int64_t length = attention.length, head_width = attention.head_width;
  const int64_t keys = RoundUp(length, kLanes), width = RoundUp(head_width, kLanes);
  float* const transposed = attention.scratch;        // (width, keys)
  float* const values = transposed + width * keys;    // (keys, width)
  float* const queries = values + keys * width;       // (kTileRows, width)
  float* const scores = queries + kTileRows * width;  // (kTileRows, keys)
  float* const results = scores + kTileRows * keys;   // (kTileRows, width)
  const int64_t item = BytesOf(attention.number), row_bytes = 3 * attention.width * item;
  const auto at = [&](int64_t position, int64_t part) {
    return static_cast<const uint8_t*>(attention.qkv) + position * row_bytes +
           (part * attention.width + attention.head * head_width) * item;
  };
  // Positions beyond the length are zero, so that they add nothing.
  for (int64_t position = 0; position < keys; ++position) {
    for (int64_t i = 0; i < width; i += kLanes) {
      const __mmask16 lanes =
          position < length && head_width > i ? FirstLanes(head_width - i) : __mmask16(0);
      const int64_t safe = position < length ? position : 0;
      alignas(64) float key[kLanes];
      _mm512_store_ps(key, LoadRow(attention.number, at(safe, 1), i, lanes));
      for (int64_t lane = 0; lane < kLanes; ++lane)
        transposed[(i + lane) * keys + position] = key[lane];
      _mm512_storeu_ps(values + position * width + i,
                       LoadRow(attention.number, at(safe, 2), i, lanes));
    }
  }
  for (int64_t begin = 0; begin < attention.queries; begin += kTileRows) {
    const int64_t rows =
        attention.queries - begin < kTileRows ? attention.queries - begin : kTileRows;
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < width; i += kLanes) {
        _mm512_storeu_ps(queries + r * width + i,
                         LoadRow(attention.number, at(attention.first_query + begin + r, 0), i,
                                 FirstLanes(head_width - i)));
      }
    }
    // Rows beyond `rows` hold stale numbers and are not used.
    if (rows == kTileRows) {
      SmallProductRows<kTileRows>(queries, width, transposed, keys, width, keys, scores, keys);
    } else {
      for (int64_t r = 0; r < rows; ++r)
        SmallProductRows<1>(queries + r * width, width, transposed, keys, width, keys,
                            scores + r * keys, keys);
    }
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t seen = attention.causal ? attention.first_query + begin + r + 1 : length;
      Softmax(scores + r * keys, seen, keys);
    }
    if (rows == kTileRows) {
      SmallProductRows<kTileRows>(scores, keys, values, width, length, width, results, width);
    } else {
      for (int64_t r = 0; r < rows; ++r)
        SmallProductRows<1>(scores + r * keys, keys, values, width, length, width,
                            results + r * width, width);
    }
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t to = (begin + r) * attention.width + attention.head * head_width;
      for (int64_t i = 0; i < head_width; i += kLanes) {
        const __m512 x = _mm512_loadu_ps(results + r * width + i);
        const __mmask16 lanes = FirstLanes(head_width - i);
        if (attention.number == Number::kFp32) {
          _mm512_mask_storeu_ps(static_cast<float*>(attention.out) + to + i, lanes, x);
        } else {
          StoreBf16(static_cast<uint16_t*>(attention.out) + to + i, lanes, x);
        }
      }
    }
  }
}

void LayerNormRow(const float* x, int64_t width, const float* gain, const float* bias, float eps,
                  Number number, uint8_t* out, float* scale, int32_t* zero) {
  __m512 sum = _mm512_setzero_ps();
  for (int64_t i = 0; i < width; i += kLanes)
    sum = _mm512_add_ps(sum, _mm512_maskz_loadu_ps(FirstLanes(width - i), x + i));
  const __m512 mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / static_cast<float>(width));
  __m512 squares = _mm512_setzero_ps();
  for (int64_t i = 0; i < width; i += kLanes) {
    const __mmask16 lanes = FirstLanes(width - i);
    const __m512 d = _mm512_maskz_sub_ps(lanes, _mm512_maskz_loadu_ps(lanes, x + i), mean);
    squares = _mm512_fmadd_ps(d, d, squares);
  }
  const __m512 inverse = _mm512_set1_ps(
      1 / __builtin_sqrtf(_mm512_reduce_add_ps(squares) / static_cast<float>(width) + eps));
  const auto normed = [&](int64_t i, __mmask16 lanes) {
    const __m512 d = _mm512_sub_ps(_mm512_maskz_loadu_ps(lanes, x + i), mean);
    return _mm512_fmadd_ps(_mm512_mul_ps(d, inverse), _mm512_maskz_loadu_ps(lanes, gain + i),
                           _mm512_maskz_loadu_ps(lanes, bias + i));
  };
  if (number == Number::kInt8) {
    __m512 low = _mm512_setzero_ps(), high = low;
    for (int64_t i = 0; i < width; i += kLanes) {
      const __mmask16 lanes = FirstLanes(width - i);
      const __m512 y = normed(i, lanes);
      low = _mm512_mask_min_ps(low, lanes, low, y);
      high = _mm512_mask_max_ps(high, lanes, high, y);
    }
    const Quantiser quantiser(_mm512_reduce_min_ps(low), _mm512_reduce_max_ps(high));
    *scale = quantiser.scale;
    *zero = quantiser.zero;
    for (int64_t i = 0; i < width; i += kLanes) {
      const __mmask16 lanes = FirstLanes(width - i);
      quantiser.Store(out + i, lanes, normed(i, lanes));
    }
    return;
  }
  for (int64_t i = 0; i < width; i += kLanes) {
    const __mmask16 lanes = FirstLanes(width - i);
    const __m512 y = normed(i, lanes);
    if (number == Number::kFp32) {
      _mm512_mask_storeu_ps(reinterpret_cast<float*>(out) + i, lanes, y);
    } else {
      StoreBf16(reinterpret_cast<uint16_t*>(out) + i, lanes, y);
    }
  }
}

void QuantiseRow(Number number, const void* x, int64_t width, uint8_t* out, float* scale,
                 int32_t* zero) {
  __m512 low = _mm512_setzero_ps(), high = low;
  for (int64_t i = 0; i < width; i += kLanes) {
    const __m512 y = LoadRow(number, x, i, FirstLanes(width - i));  // lanes beyond the row are 0
    low = _mm512_min_ps(low, y);
    high = _mm512_max_ps(high, y);
  }
  const Quantiser quantiser(_mm512_reduce_min_ps(low), _mm512_reduce_max_ps(high));
  *scale = quantiser.scale;
  *zero = quantiser.zero;
  for (int64_t i = 0; i < width; i += kLanes) {
    const __mmask16 lanes = FirstLanes(width - i);
    quantiser.Store(out + i, lanes, LoadRow(number, x, i, lanes));
  }
}

}  // namespace imagesearch::encoder::kernels
