// Packing and products. Compiled for AVX-512; see gemm.h.

#include "encoder/clip/kernels/gemm.h"
#include "encoder/clip/kernels/tile.h"
#include "encoder/clip/kernels/vector_math.h"

namespace imagesearch::encoder::kernels {
namespace {

int64_t Min(int64_t a, int64_t b) { return a < b ? a : b; }

// Registers of the panel that begins at `output`.
int64_t PanelColumns(int64_t outputs, int64_t output) {
  return (Min(outputs - output, kPanel) + kLanes - 1) / kLanes;
}

uint16_t ToBf16(float value) {
  return static_cast<uint16_t>(_mm_extract_epi16((__m128i)_mm_cvtneps_pbh(_mm_set_ss(value)), 0));
}

// Finishes 16 values of one row.
inline void Finish(const Sink& sink, int64_t row, int64_t output, __mmask16 lanes, __m512 x) {
  x = Apply(sink.function, x);
  const int64_t at = row * sink.stride + output;
  if (sink.bf16 != nullptr) {
    if (sink.add) x = _mm512_add_ps(x, LoadBf16(sink.bf16 + at, lanes));
    return StoreBf16(sink.bf16 + at, lanes, x);
  }
  if (sink.add) x = _mm512_add_ps(x, _mm512_maskz_loadu_ps(lanes, sink.fp32 + at));
  _mm512_mask_storeu_ps(sink.fp32 + at, lanes, x);
}

inline __m512 ToFloat(const RowsView&, const WeightsView&, int64_t, int64_t, __mmask16,
                      __m512 sum) {
  return sum;
}

// scale_row * scale_output * (sum - zero_row * sum of the output's weights)
inline __m512 ToFloat(const RowsView& rows, const WeightsView& weights, int64_t row, int64_t output,
                      __mmask16 lanes, __m512i sum) {
  const __m512i sums = _mm512_maskz_loadu_epi32(lanes, weights.sums + output);
  const __m512i centred =
      _mm512_sub_epi32(sum, _mm512_mullo_epi32(_mm512_set1_epi32(rows.zero[row]), sums));
  const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(rows.scale[row]),
                                     _mm512_maskz_loadu_ps(lanes, weights.scale + output));
  return _mm512_mul_ps(_mm512_cvtepi32_ps(centred), scale);
}

template <typename Dot, int kRows, int kColumns, int kAhead>
void Tile(const RowsView& rows, const WeightsView& weights, const Sink& sink, int64_t row,
          int64_t output, const uint8_t* panel, const uint8_t* ahead) {
  typename Dot::Sum sums[kRows][kColumns];
  TileSums<Dot, kRows, kColumns, kAhead>(rows.data + row * rows.stride, rows.stride, panel,
                                         64 * kColumns,
                                         weights.inputs * BytesOf(weights.number) / 4, ahead, sums);
#pragma GCC unroll 4
  for (int c = 0; c < kColumns; ++c) {
    const int64_t at = output + kLanes * c;
    const __mmask16 lanes = FirstLanes(weights.outputs - at);
    const __m512 bias = weights.bias == nullptr ? _mm512_setzero_ps()
                                                : _mm512_maskz_loadu_ps(lanes, weights.bias + at);
#pragma GCC unroll 6
    for (int r = 0; r < kRows; ++r) {
      const __m512 x = ToFloat(rows, weights, row + r, at, lanes, sums[r][c]);
      Finish(sink, row + r, at, lanes, _mm512_add_ps(x, bias));
    }
  }
}

using TileFunction = void (*)(const RowsView&, const WeightsView&, const Sink&, int64_t, int64_t,
                              const uint8_t*, const uint8_t*);

// By rows - 1 and columns - 1; kAhead 64-byte lines are fetched ahead for each step.
template <typename Dot, int kAhead>
struct Tiles {
  template <int kRows>
  static constexpr TileFunction ByColumns(int columns) {
    constexpr TileFunction kTable[] = {Tile<Dot, kRows, 1, kAhead>, Tile<Dot, kRows, 2, kAhead>,
                                       Tile<Dot, kRows, 3, kAhead>, Tile<Dot, kRows, 4, kAhead>};
    return kTable[columns - 1];
  }
  static TileFunction Get(int64_t rows, int64_t columns) {
    switch (rows) {
      case 1:
        return ByColumns<1>(columns);
      case 2:
        return ByColumns<2>(columns);
      case 3:
        return ByColumns<3>(columns);
      case 4:
        return ByColumns<4>(columns);
      case 5:
        return ByColumns<5>(columns);
      default:
        return ByColumns<6>(columns);
    }
  }
};

template <typename Dot>
void MultiplyPanels(const RowsView& rows, const WeightsView& weights, const Sink& sink,
                    int64_t first_row, int64_t last_row, int64_t first_panel, int64_t last_panel) {
  const int64_t line_bytes = weights.inputs * BytesOf(weights.number) * kLanes;  // of 16 outputs
  const int64_t count = last_row - first_row;
  const int64_t tiles = (count + kTileRows - 1) / kTileRows;
  for (int64_t panel = first_panel; panel < last_panel; ++panel) {
    const int64_t output = panel * kPanel;
    const int64_t columns = PanelColumns(weights.outputs, output);
    const uint8_t* const packed = weights.packed + output / kLanes * line_bytes;
    // The next panel comes from memory while this one is at work: a quarter with each of the first
    // four tiles, or all of it with the only one or two.
    const bool more = panel + 1 < last_panel;
    const uint8_t* const next = packed + columns * line_bytes;
    for (int64_t tile = 0; tile < tiles; ++tile) {
      // Even tiles: 50 rows are 5 x 6 + 4 x 5.
      const int64_t begin = first_row + count * tile / tiles;
      const int64_t size = first_row + count * (tile + 1) / tiles - begin;
      TileFunction function;
      const uint8_t* ahead = packed;
      if (more && tiles < 4 && tile == 0) {
        function = Tiles<Dot, 4>::Get(size, columns);
        ahead = next;
      } else if (more && tiles >= 4 && tile < 4) {
        function = Tiles<Dot, 1>::Get(size, columns);
        ahead = next + tile * line_bytes;
      } else {
        function = Tiles<Dot, 0>::Get(size, columns);
      }
      function(rows, weights, sink, begin, output, packed, ahead);
    }
  }
}

}  // namespace

int64_t PackedBytes(int64_t outputs, int64_t inputs, Number number) {
  return (outputs + kLanes - 1) / kLanes * kLanes * inputs * BytesOf(number);
}

void PackWeights(const float* weight, int64_t outputs, int64_t inputs, Number number,
                 uint8_t* packed, float* scale, int32_t* sums) {
  const int bytes = BytesOf(number), per_step = 4 / bytes;
  const int64_t steps = inputs / per_step;
  for (int64_t panel = 0; panel < outputs; panel += kPanel) {
    const int64_t lanes = PanelColumns(outputs, panel) * kLanes;
    for (int64_t lane = 0; lane < lanes; ++lane) {
      const int64_t output = panel + lane;
      const float* const row = output < outputs ? weight + output * inputs : nullptr;
      float unit = 1;
      if (number == Number::kInt8 && row != nullptr) {
        float largest = 0;
        for (int64_t i = 0; i < inputs; ++i)
          largest = __builtin_fmaxf(largest, __builtin_fabsf(row[i]));
        unit = largest > 0 ? largest / 127 : 1;
        scale[output] = unit;
        sums[output] = 0;
      }
      for (int64_t step = 0; step < steps; ++step) {
        uint8_t* const to = packed + (step * lanes + lane) * 4;
        for (int i = 0; i < per_step; ++i) {
          const float value = row == nullptr ? 0 : row[step * per_step + i];
          if (number == Number::kFp32) {
            __builtin_memcpy(to, &value, 4);
          } else if (number == Number::kBf16) {
            const uint16_t rounded = ToBf16(value);
            __builtin_memcpy(to + 2 * i, &rounded, 2);
          } else {
            const int8_t rounded = static_cast<int8_t>(__builtin_lrintf(value / unit));
            __builtin_memcpy(to + i, &rounded, 1);
            if (row != nullptr) sums[output] += rounded;
          }
        }
      }
    }
    packed += lanes * steps * 4;
  }
}

void Multiply(const RowsView& rows, const WeightsView& weights, const Sink& sink, int64_t first_row,
              int64_t last_row, int64_t first_panel, int64_t last_panel) {
  switch (weights.number) {
    case Number::kFp32:
      return MultiplyPanels<Fp32Dot>(rows, weights, sink, first_row, last_row, first_panel,
                                     last_panel);
    case Number::kBf16:
      return MultiplyPanels<Bf16Dot>(rows, weights, sink, first_row, last_row, first_panel,
                                     last_panel);
    case Number::kInt8:
      return MultiplyPanels<Int8Dot>(rows, weights, sink, first_row, last_row, first_panel,
                                     last_panel);
  }
}

}  // namespace imagesearch::encoder::kernels
