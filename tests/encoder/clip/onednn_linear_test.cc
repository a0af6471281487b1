// oneDNN's linear layers against LibTorch's plain ones.
#include "encoder/clip/onednn_linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/randn.h>
#include <ATen/ops/sigmoid.h>

#include <string>

#include "gtest/gtest.h"

namespace imagesearch::encoder {
namespace {

using Function = OneDnnLinear::Function;

class OneDnnLinearTest : public testing::TestWithParam<at::ScalarType> {};

TEST_P(OneDnnLinearTest, EqualsTheLayerAndItsActivation) {
  if (!OneDnnLinear::Available(GetParam())) GTEST_SKIP() << "not on this CPU";
  const double error = GetParam() == at::kFloat ? 1e-4 : 0.05;
  for (const int64_t rows : {1, 7, 50}) {
    for (const int64_t inputs : {24, 72, 768}) {
      const LinearWeights weights{at::randn({100, inputs}), at::randn({100})};
      const at::Tensor x = at::randn({rows, inputs}) / 8;
      const at::Tensor y = at::linear(x, weights.weight, weights.bias);
      const auto largest_error = [&](Function function, const at::Tensor& wanted) {
        const OneDnnLinear layer(weights, GetParam(), function);
        const at::Tensor got = layer(x.to(GetParam())).to(at::kFloat);
        return ((got - wanted).abs() / (wanted.abs() + 1)).max().item<double>();
      };
      EXPECT_LT(largest_error(Function::kNone, y), error) << rows << " x " << inputs;
      EXPECT_LT(largest_error(Function::kSwish, y * at::sigmoid(y)), error);
      EXPECT_LT(largest_error(Function::kGelu, at::gelu(y)), error);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Types, OneDnnLinearTest, testing::Values(at::kFloat, at::kBFloat16),
                         [](const auto& info) {
                           return std::string(info.param == at::kFloat ? "fp32" : "bf16");
                         });

#if defined(__x86_64__)
TEST(OneDnnAvailableTest, IsThereInTheLibTorchThatWeInstall) {
  EXPECT_TRUE(OneDnnLinear::Available(at::kFloat));
}
#endif

TEST(OneDnnAvailableTest, OtherTypesAreNot) { EXPECT_FALSE(OneDnnLinear::Available(at::kDouble)); }

}  // namespace
}  // namespace imagesearch::encoder
