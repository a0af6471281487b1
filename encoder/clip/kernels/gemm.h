// Matrix products against weights that are packed once, with the surrounding arithmetic fused in:
// AVX-512 kernels for fp32, bf16 and 8-bit integers. Pointers and plain structs only: the file that
// implements this is compiled for newer CPUs than the rest and must share no inline code with it.
//
// One layout serves all three formats. A "step" is 4 bytes of the inner dimension: one fp32 value,
// two bf16 or four 8-bit ones. Packed weights are panels of up to 64 outputs; within a panel, step
// by step, the 4 bytes of each output lie side by side, so that one 64-byte register holds a step
// of 16 outputs and meets a step of one row of activations, broadcast.
#ifndef IMAGESEARCH_ENCODER_CLIP_KERNELS_GEMM_H_
#define IMAGESEARCH_ENCODER_CLIP_KERNELS_GEMM_H_

#include <cstdint>

namespace imagesearch::encoder::kernels {

enum class Number { kFp32, kBf16, kInt8 };

inline int BytesOf(Number number) {
  return number == Number::kFp32 ? 4 : number == Number::kBf16 ? 2 : 1;
}

// Outputs of one panel, and of one register in it.
constexpr int64_t kPanel = 64, kLanes = 16;

// Bytes of packed weights of this size.
int64_t PackedBytes(int64_t outputs, int64_t inputs, Number number);

// weight: (outputs, inputs) fp32 row-major, inputs a multiple of 4. packed: PackedBytes, 64-byte
// aligned. kInt8 rounds each output's weights to scale[output] * (-127 to 127) and gives their sum
// in sums[output]; both are null otherwise.
void PackWeights(const float* weight, int64_t outputs, int64_t inputs, Number number,
                 uint8_t* packed, float* scale, int32_t* sums);

// Activations, rows of `inputs` values in the weights' format. kInt8 values are unsigned and stand
// for scale[row] * (value - zero[row]).
struct RowsView {
  const uint8_t* data = nullptr;
  int64_t rows = 0;
  int64_t stride = 0;  // bytes from row to row
  const float* scale = nullptr;
  const int32_t* zero = nullptr;
};

struct WeightsView {
  Number number = Number::kFp32;
  int64_t outputs = 0, inputs = 0;
  const uint8_t* packed = nullptr;
  const float* bias = nullptr;   // (outputs), or null
  const float* scale = nullptr;  // kInt8 only
  const int32_t* sums = nullptr;
};

enum class Function { kNone, kQuickGelu, kGelu, kRelu6 };

// What becomes of x weight^T + bias: `function`, then stored as fp32 or as bf16, whichever pointer
// is set, or added to what is there if `add`.
struct Sink {
  Function function = Function::kNone;
  float* fp32 = nullptr;
  uint16_t* bf16 = nullptr;
  int64_t stride = 0;  // values from row to row
  bool add = false;
};

// Rows [first_row, last_row) and panels [first_panel, last_panel) of the product. Thread-safe on
// disjoint parts.
void Multiply(const RowsView& rows, const WeightsView& weights, const Sink& sink, int64_t first_row,
              int64_t last_row, int64_t first_panel, int64_t last_panel);

// Attention of one head over one sequence. qkv: `length` rows of 3 * width values (queries, keys,
// values), as fp32 or bf16; the queries are already scaled. out: `queries` rows of `width` values.
struct Attention {
  Number number = Number::kFp32;  // of qkv and out: kFp32 or kBf16
  const void* qkv = nullptr;
  int64_t length = 0, width = 0, head = 0, head_width = 0;
  bool causal = false;
  int64_t first_query = 0, queries = 0;  // positions whose result is wanted
  void* out = nullptr;
  float* scratch = nullptr;  // AttentionScratch floats, 64-byte aligned
};
int64_t AttentionScratch(int64_t length, int64_t head_width);
void Attend(const Attention& attention);

// A convolution of each channel by itself, then relu6. Pixels are rows of `channels` values.
struct Depthwise {
  Number number = Number::kFp32;  // of input and output: kFp32 or kBf16
  int64_t side = 0, outputs = 0;  // pixels along a side, of input and output
  int64_t before = 0;             // padding above and left
  int64_t kernel = 0, stride = 0, channels = 0;
  const float* weight = nullptr;  // (kernel, kernel, channels)
  const float* bias = nullptr;    // (channels)
  const void* input = nullptr;
  void* output = nullptr;
};
// Rows [first, last) of the output. Thread-safe on disjoint parts.
void ConvolveDepthwise(const Depthwise& depthwise, int64_t first, int64_t last);

// Layer norm of one row of `width` fp32 values, written in `number`; kInt8 also gives the row's
// scale and zero.
void LayerNormRow(const float* x, int64_t width, const float* gain, const float* bias, float eps,
                  Number number, uint8_t* out, float* scale, int32_t* zero);

// One row of values in `number`, kFp32 or kBf16, to 8-bit ones.
void QuantiseRow(Number number, const void* x, int64_t width, uint8_t* out, float* scale,
                 int32_t* zero);

// Whether the CPU has the instructions for `number`: AVX-512 (F, BW, DQ, VL), and for kBf16
// AVX512-BF16, for kInt8 AVX512-VNNI. Without AVX512-BF16, kInt8 goes with kFp32 only.
bool Supported(Number number);

}  // namespace imagesearch::encoder::kernels

#endif  // IMAGESEARCH_ENCODER_CLIP_KERNELS_GEMM_H_
