// The AVX-512 kernels against the same arithmetic written out in double precision, at sizes that
// fill no register, tile or panel evenly.
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "encoder/clip/kernels/gemm.h"
#include "gtest/gtest.h"

namespace imagesearch::encoder::kernels {
namespace {

struct Size {
  int64_t rows, outputs, inputs;
};
constexpr Size kSizes[] = {{1, 1, 4},    {5, 16, 8},   {7, 17, 12},    {13, 63, 36},
                           {50, 65, 64}, {3, 200, 28}, {25, 130, 100}, {6, 64, 3072}};

std::vector<float> RandomValues(size_t count, unsigned seed, float scale = 1) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0, scale);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

uint16_t ToBf16(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}
float FromBf16(uint16_t value) {
  const uint32_t bits = uint32_t{value} << 16;
  float result;
  std::memcpy(&result, &bits, 4);
  return result;
}

struct Free {
  void operator()(uint8_t* memory) const { std::free(memory); }
};
using Aligned = std::unique_ptr<uint8_t, Free>;
Aligned Allocate(int64_t bytes) {
  return Aligned(static_cast<uint8_t*>(std::aligned_alloc(64, (bytes + 63) / 64 * 64)));
}

class KernelTest : public testing::TestWithParam<Number> {
 protected:
  void SetUp() override {
    if (!Supported(GetParam())) GTEST_SKIP() << "this CPU lacks the instructions";
  }
};

// Rows in the format under test, and the values that they stand for.
struct Rows {
  std::vector<uint8_t> data;
  std::vector<float> scale, values;
  std::vector<int32_t> zero;
};

Rows MakeRows(Number number, int64_t rows, int64_t inputs) {
  Rows result;
  result.values = RandomValues(rows * inputs, 1);
  result.data.resize(rows * inputs * BytesOf(number));
  result.scale.resize(rows);
  result.zero.resize(rows);
  std::vector<uint16_t> halves;
  for (float& value : result.values) {
    halves.push_back(ToBf16(value));
    if (number != Number::kFp32) value = FromBf16(halves.back());
  }
  if (number == Number::kFp32) {
    std::memcpy(result.data.data(), result.values.data(), result.data.size());
  } else if (number == Number::kBf16) {
    std::memcpy(result.data.data(), halves.data(), result.data.size());
  } else {
    for (int64_t row = 0; row < rows; ++row) {
      uint8_t* const out = result.data.data() + row * inputs;
      // From both formats: the values are those of bf16 in each.
      QuantiseRow(Number::kBf16, halves.data() + row * inputs, inputs, out, &result.scale[row],
                  &result.zero[row]);
      const std::vector<uint8_t> from_bf16(out, out + inputs);
      QuantiseRow(Number::kFp32, result.values.data() + row * inputs, inputs, out,
                  &result.scale[row], &result.zero[row]);
      EXPECT_EQ(from_bf16, std::vector<uint8_t>(out, out + inputs));
      for (int64_t i = 0; i < inputs; ++i) {
        const float back = result.scale[row] * static_cast<float>(out[i] - result.zero[row]);
        float& value = result.values[row * inputs + i];
        EXPECT_NEAR(back, value, result.scale[row] * 0.51) << row << " " << i;
        value = back;
      }
    }
  }
  return result;
}

TEST_P(KernelTest, ProductEqualsTheSumWrittenOut) {
  const Number number = GetParam();
  for (const Size& size : kSizes) {
    const Rows rows = MakeRows(number, size.rows, size.inputs);
    std::vector<float> weight = RandomValues(size.outputs * size.inputs, 2, 0.1f);
    const std::vector<float> bias = RandomValues(size.outputs, 3);
    const Aligned packed = Allocate(PackedBytes(size.outputs, size.inputs, number));
    std::vector<float> scale(size.outputs, 1);
    std::vector<int32_t> sums(size.outputs);
    PackWeights(weight.data(), size.outputs, size.inputs, number, packed.get(), scale.data(),
                sums.data());
    for (size_t i = 0; i < weight.size(); ++i) {
      const float unit = scale[i / size.inputs];
      if (number == Number::kBf16) weight[i] = FromBf16(ToBf16(weight[i]));
      if (number == Number::kInt8) weight[i] = unit * std::nearbyint(weight[i] / unit);
    }
    const RowsView view{rows.data.data(), size.rows, size.inputs * BytesOf(number),
                        rows.scale.data(), rows.zero.data()};
    const WeightsView weights{number,      size.outputs, size.inputs, packed.get(),
                              bias.data(), scale.data(), sums.data()};
    const int64_t panels = (size.outputs + kPanel - 1) / kPanel;
    // One value more in each row, which must stay as it is.
    const int64_t stride = size.outputs + 1;
    for (const bool add : {false, true}) {
      std::vector<float> out(size.rows * stride, 5);
      Sink sink;
      sink.fp32 = out.data();
      sink.stride = stride;
      sink.add = add;
      Multiply(view, weights, sink, 0, size.rows, 0, panels);
      for (int64_t r = 0; r < size.rows; ++r) {
        for (int64_t o = 0; o < size.outputs; ++o) {
          double sum = bias[o] + (add ? 5.0 : 0.0);
          for (int64_t i = 0; i < size.inputs; ++i)
            sum += double{rows.values[r * size.inputs + i]} * weight[o * size.inputs + i];
          ASSERT_NEAR(out[r * stride + o], sum, 1e-4 * (1 + std::abs(sum)))
              << size.rows << "x" << size.outputs << "x" << size.inputs << " at " << r << "," << o;
        }
        ASSERT_EQ(out[r * stride + size.outputs], 5);
      }
    }
  }
}

TEST_P(KernelTest, LayerNorm) {
  for (const int64_t width : {4, 16, 72, 208, 768}) {
    const std::vector<float> x = RandomValues(width, 4, 3), gain = RandomValues(width, 5),
                             bias = RandomValues(width, 6);
    std::vector<uint8_t> out(width * 4);
    float scale = 1;
    int32_t zero = 0;
    LayerNormRow(x.data(), width, gain.data(), bias.data(), 1e-5f, GetParam(), out.data(), &scale,
                 &zero);
    double mean = 0, variance = 0;
    for (const float value : x) mean += value / static_cast<double>(width);
    for (const float value : x)
      variance += (value - mean) * (value - mean) / static_cast<double>(width);
    for (int64_t i = 0; i < width; ++i) {
      const double expected = (x[i] - mean) / std::sqrt(variance + 1e-5) * gain[i] + bias[i];
      double got = 0, tolerance = 1e-5;
      if (GetParam() == Number::kFp32) {
        got = reinterpret_cast<const float*>(out.data())[i];
      } else if (GetParam() == Number::kBf16) {
        got = FromBf16(reinterpret_cast<const uint16_t*>(out.data())[i]);
        tolerance = std::abs(expected) / 250 + 1e-5;
      } else {
        got = scale * (out[i] - zero);
        tolerance = scale * 0.51;
      }
      ASSERT_NEAR(got, expected, tolerance) << width << " at " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Numbers, KernelTest,
                         testing::Values(Number::kFp32, Number::kBf16, Number::kInt8),
                         [](const auto& info) {
                           return info.param == Number::kFp32   ? "fp32"
                                  : info.param == Number::kBf16 ? "bf16"
                                                                : "int8";
                         });

// One output of a product with itself as bias: the activation alone.
float ActivationOf(Function function, float x) {
  const float zero[4] = {0, 0, 0, 0};
  const Aligned packed = Allocate(PackedBytes(1, 4, Number::kFp32));
  PackWeights(zero, 1, 4, Number::kFp32, packed.get(), nullptr, nullptr);
  const RowsView view{reinterpret_cast<const uint8_t*>(zero), 1, 16, nullptr, nullptr};
  const WeightsView weights{Number::kFp32, 1, 4, packed.get(), &x, nullptr, nullptr};
  float out = 0;
  Sink sink;
  sink.function = function;
  sink.fp32 = &out;
  sink.stride = 1;
  Multiply(view, weights, sink, 0, 1, 0, 1);
  return out;
}

TEST(ActivationTest, EqualsTheDefinition) {
  if (!Supported(Number::kFp32)) GTEST_SKIP();
  for (double x = -100; x <= 100; x += 0.37) {
    const double tolerance = 1e-6 * (1 + std::abs(x));
    const float f = static_cast<float>(x);
    EXPECT_NEAR(ActivationOf(Function::kGelu, f), 0.5 * f * std::erfc(-f / std::sqrt(2.0)),
                tolerance);
    EXPECT_NEAR(ActivationOf(Function::kQuickGelu, f), f / (1 + std::exp(-1.702 * f)), tolerance);
    EXPECT_EQ(ActivationOf(Function::kRelu6, f), std::min(std::max(f, 0.0f), 6.0f));
  }
}

TEST(ActivationTest, NanStaysNan) {
  if (!Supported(Number::kFp32)) GTEST_SKIP();
  for (const Function function :
       {Function::kNone, Function::kGelu, Function::kQuickGelu, Function::kRelu6})
    EXPECT_TRUE(std::isnan(ActivationOf(function, NAN)));
}

TEST(AttentionTest, EqualsTheSumWrittenOut) {
  if (!Supported(Number::kFp32)) GTEST_SKIP();
  for (const int64_t length : {1, 5, 16, 50, 83}) {
    for (const bool causal : {false, true}) {
      const int64_t heads = 2, head_width = 20, width = heads * head_width;
      const std::vector<float> qkv = RandomValues(length * 3 * width, 8);
      std::vector<float> out(length * width, 9);
      const Aligned scratch = Allocate(4 * AttentionScratch(length, head_width));
      Attention attention;
      attention.qkv = qkv.data();
      attention.length = attention.queries = length;
      attention.width = width;
      attention.head_width = head_width;
      attention.causal = causal;
      attention.out = out.data();
      attention.scratch = reinterpret_cast<float*>(scratch.get());
      for (attention.head = 0; attention.head < heads; ++attention.head) Attend(attention);
      for (int64_t head = 0; head < heads; ++head) {
        for (int64_t q = 0; q < length; ++q) {
          const auto at = [&](int64_t position, int64_t part, int64_t i) {
            return double{qkv[(position * 3 + part) * width + head * head_width + i]};
          };
          const int64_t seen = causal ? q + 1 : length;
          std::vector<double> weights(seen);
          double total = 0;
          for (int64_t k = 0; k < seen; ++k) {
            for (int64_t i = 0; i < head_width; ++i) weights[k] += at(q, 0, i) * at(k, 1, i);
            weights[k] = std::exp(weights[k]);
            total += weights[k];
          }
          for (int64_t i = 0; i < head_width; ++i) {
            double expected = 0;
            for (int64_t k = 0; k < seen; ++k) expected += weights[k] / total * at(k, 2, i);
            ASSERT_NEAR(out[q * width + head * head_width + i], expected, 1e-5);
          }
        }
      }
    }
  }
}

TEST(DepthwiseTest, EqualsTheSumWrittenOut) {
  if (!Supported(Number::kFp32)) GTEST_SKIP();
  for (const int64_t side : {1, 4, 7, 15}) {
    for (const int64_t kernel : {3, 5}) {
      for (const int64_t stride : {1, 2}) {
        const int64_t channels = 24, outputs = (side + stride - 1) / stride;
        const int64_t total = std::max<int64_t>((outputs - 1) * stride + kernel - side, 0);
        const std::vector<float> input = RandomValues(side * side * channels, 10),
                                 weight = RandomValues(kernel * kernel * channels, 11),
                                 bias = RandomValues(channels, 12);
        std::vector<float> output(outputs * outputs * channels, -1);
        Depthwise depthwise;
        depthwise.side = side;
        depthwise.outputs = outputs;
        depthwise.before = total / 2;
        depthwise.kernel = kernel;
        depthwise.stride = stride;
        depthwise.channels = channels;
        depthwise.weight = weight.data();
        depthwise.bias = bias.data();
        depthwise.input = input.data();
        depthwise.output = output.data();
        ConvolveDepthwise(depthwise, 0, outputs);
        for (int64_t y = 0; y < outputs; ++y) {
          for (int64_t x = 0; x < outputs; ++x) {
            for (int64_t c = 0; c < channels; ++c) {
              double sum = bias[c];
              for (int64_t ky = 0; ky < kernel; ++ky) {
                for (int64_t kx = 0; kx < kernel; ++kx) {
                  const int64_t fy = y * stride - total / 2 + ky, fx = x * stride - total / 2 + kx;
                  if (fy < 0 || fx < 0 || fy >= side || fx >= side) continue;
                  sum += double{input[(fy * side + fx) * channels + c]} *
                         weight[(ky * kernel + kx) * channels + c];
                }
              }
              ASSERT_NEAR(output[(y * outputs + x) * channels + c],
                          std::min(std::max(sum, 0.0), 6.0), 1e-5);
            }
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace imagesearch::encoder::kernels
