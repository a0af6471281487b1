// The model that ships, in every precision that this CPU has.
#include <string>

#include "base/error.h"
#include "encoder/clip/clip_encoder.h"
#include "encoder/clip/self_test.h"
#include "gtest/gtest.h"

namespace imagesearch::encoder {
namespace {

class ShippedModelTest : public ::testing::TestWithParam<Precision> {};

// In int8 the server refused to start: its text tower's vectors had a cosine of 0.98 with the
// expected ones.
TEST_P(ShippedModelTest, PassesItsSelfTest) {
  ClipOptions options;
  options.model_dir = SHIPPED_MODEL;
  options.precision = GetParam();
  options.threads = 2;
  auto encoder = OpenClip(options);
  if (!encoder.ok()) {
    EXPECT_EQ(ReasonOf(encoder.status()), "PRECISION_UNSUPPORTED") << encoder.status();
    EXPECT_NE(GetParam(), Precision::kFp32);
    return;
  }
  absl::Status status = SelfTest(**encoder, options);
  EXPECT_TRUE(status.ok()) << status;
}

INSTANTIATE_TEST_SUITE_P(Precisions, ShippedModelTest,
                         ::testing::Values(Precision::kFp32, Precision::kBf16, Precision::kInt8),
                         [](const auto& info) {
                           return info.param == Precision::kFp32   ? "Fp32"
                                  : info.param == Precision::kBf16 ? "Bf16"
                                                                   : "Int8";
                         });

}  // namespace
}  // namespace imagesearch::encoder
