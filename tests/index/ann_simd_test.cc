// Every kernel level against plain arithmetic, over random lengths and values, extremes included.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "index/ann/aligned.h"
#include "index/ann/simd.h"

namespace imagesearch::index {
namespace {

class SimdTest : public ::testing::TestWithParam<SimdLevel> {
 protected:
  void SetUp() override {
    if (!ForceSimdLevel(GetParam())) GTEST_SKIP() << "this CPU lacks the level";
    ASSERT_EQ(Simd().level, GetParam());
  }
  void TearDown() override { ForceSimdLevel(std::nullopt); }

  int Draw(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }

  // Rows of codes and queries, one in four all extremes (where 16-bit sums would saturate).
  void Fill(size_t rows, size_t queries, size_t stride) {
    codes_.assign(rows * stride, 0);
    queries_.assign(queries * stride, 0);
    const bool extreme = Draw(0, 3) == 0;
    for (uint8_t& c : codes_) c = static_cast<uint8_t>(extreme ? 255 : Draw(0, 255));
    for (int8_t& q : queries_) {
      q = static_cast<int8_t>(extreme ? (Draw(0, 9) == 0 ? -127 : 127) : Draw(-127, 127));
    }
  }
  int32_t Expected(size_t row, size_t query, size_t stride) const {
    int32_t sum = 0;
    for (size_t i = 0; i < stride; ++i) {
      sum += static_cast<int32_t>(codes_[row * stride + i]) * queries_[query * stride + i];
    }
    return sum;
  }

  std::mt19937 random_{20240607};
  AlignedVector<uint8_t> codes_;
  AlignedVector<int8_t> queries_;
};

TEST_P(SimdTest, FloatDotProductsAgreeWithDoubleSums) {
  std::normal_distribution<float> normal;
  for (int d = 1; d <= 300; ++d) {
    // An odd start: no alignment may be assumed.
    std::vector<float> a(d + 1), b(d + 3);
    for (float& x : a) x = normal(random_);
    for (float& x : b) x = normal(random_);
    double sum = 0, size = 0;
    for (int i = 0; i < d; ++i) {
      const double product = static_cast<double>(a[i + 1]) * b[i + 3];
      sum += product;
      size += std::fabs(product);
    }
    EXPECT_NEAR(Simd().dot_f32(a.data() + 1, b.data() + 3, d), sum, 1e-6 * size) << d;
  }
}

TEST_P(SimdTest, EncodesAsPlainArithmeticDoes) {
  std::normal_distribution<float> normal;
  for (int d = 1; d <= 150; ++d) {
    std::vector<float> x(d + 1), m(d + 3);
    for (float& value : x) value = normal(random_);
    for (float& value : m) value = normal(random_);
    if (d % 7 == 0) x[d / 2] = NAN;
    float largest = 0;
    for (int i = 0; i < d; ++i) largest = std::fmax(largest, std::fabs(x[i + 1] - m[i + 3]));
    EXPECT_EQ(Simd().largest(x.data() + 1, m.data() + 3, d), largest) << d;
    if (d % 7 == 0) x[d / 2] = 0.25f;
    // Half of the range: the largest are cut off. One in five codes nothing.
    const float scale = d % 5 == 0 ? 0 : largest / 200, inverse = scale > 0 ? 1 / scale : 0;
    std::vector<uint8_t> code(d + 1, 77);
    const CodeSums sums = Simd().encode(x.data() + 1, m.data() + 3, d, scale, inverse, code.data());
    double error2 = 0, norm2 = 0;
    for (int i = 0; i < d; ++i) {
      const float value = x[i + 1] - m[i + 3];
      const double c = std::nearbyintf(std::fmin(std::fmax(value * inverse, -127), 127));
      ASSERT_EQ(code[i], 128 + c) << i << " of " << d;
      error2 += std::pow(value - scale * c, 2);
      norm2 += std::pow(scale * c, 2);
    }
    EXPECT_EQ(code[d], 77) << "wrote past the end";
    EXPECT_NEAR(sums.error2, error2, 1e-9 * error2 + 1e-12);
    EXPECT_NEAR(sums.norm2, norm2, 1e-9 * norm2 + 1e-12);
  }
}

TEST_P(SimdTest, RowsAndGathersAndTilesGiveTheSameIntegers) {
  for (int round = 0; round < 60; ++round) {
    const size_t stride = kCodeAlignment * static_cast<size_t>(Draw(1, 12));
    const size_t rows = static_cast<size_t>(Draw(1, 37));
    const size_t queries = static_cast<size_t>(Draw(1, 11));
    Fill(rows, queries, stride);

    std::vector<int32_t> tile(queries * (rows + 5), -1);
    Simd().dot_tile(codes_.data(), stride, rows, queries_.data(), queries, tile.data(), rows + 5);
    for (size_t q = 0; q < queries; ++q) {
      std::vector<int32_t> in_order(rows);
      Simd().dot_rows(codes_.data(), stride, rows, queries_.data() + q * stride, in_order.data());
      std::vector<uint32_t> positions(static_cast<size_t>(Draw(1, 50)));
      for (uint32_t& p : positions) p = static_cast<uint32_t>(Draw(0, static_cast<int>(rows) - 1));
      std::vector<int32_t> gathered(positions.size());
      Simd().dot_gather(codes_.data(), stride, positions.data(), positions.size(),
                        queries_.data() + q * stride, gathered.data());
      for (size_t i = 0; i < rows; ++i) {
        ASSERT_EQ(in_order[i], Expected(i, q, stride));
        ASSERT_EQ(tile[q * (rows + 5) + i], in_order[i]);
      }
      for (size_t i = 0; i < positions.size(); ++i) {
        ASSERT_EQ(gathered[i], in_order[positions[i]]);
      }
      for (size_t i = rows; i < rows + 5; ++i) ASSERT_EQ(tile[q * (rows + 5) + i], -1);
    }
  }
}

TEST_P(SimdTest, SelectKeepsWhatReachesTheThreshold) {
  for (int round = 0; round < 200; ++round) {
    const size_t n = static_cast<size_t>(Draw(0, 70));
    std::vector<int32_t> dots(n);
    std::vector<float> scales(n);
    for (int32_t& x : dots) x = Draw(-1'000'000, 1'000'000);
    for (float& x : scales) x = static_cast<float>(Draw(0, 100)) / 100;
    const int32_t offset = Draw(-1000, 1000);
    const float threshold = static_cast<float>(Draw(-500, 500));
    std::vector<uint32_t> selected(n + 1, 77);
    const size_t count = Simd().select(dots.data(), scales.data(), n, offset, 1e-3f, 0.25f,
                                       threshold, selected.data());
    std::vector<bool> in(n, false);
    for (size_t i = 0; i < count; ++i) {
      ASSERT_LT(selected[i], n);
      if (i > 0) {
        ASSERT_LT(selected[i - 1], selected[i]);
      }
      in[selected[i]] = true;
    }
    for (size_t i = 0; i < n; ++i) {
      const double value = scales[i] * (static_cast<double>(dots[i] - offset) * 1e-3f + 0.25);
      if (std::fabs(value - threshold) > 1e-3) {
        EXPECT_EQ(in[i], value >= threshold) << value;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, SimdTest,
                         ::testing::Values(SimdLevel::kPortable, SimdLevel::kAvx2,
                                           SimdLevel::kAvx512, SimdLevel::kAvx512Vnni));

TEST(LimitSimd, TakesTheNamesOfTheSettingAndSaysWhatTheProcessorLacks) {
  const SimdLevel best = AvailableSimdLevels().back();
  EXPECT_TRUE(LimitSimd("baseline").ok());
  EXPECT_EQ(Simd().level, SimdLevel::kPortable);
  EXPECT_EQ(LimitSimd("avx2").ok(), best >= SimdLevel::kAvx2);
  EXPECT_EQ(Simd().level, std::min(best, SimdLevel::kAvx2));
  EXPECT_EQ(LimitSimd("avx512").ok(), best >= SimdLevel::kAvx512);
  EXPECT_TRUE(LimitSimd("auto").ok());
  EXPECT_EQ(Simd().level, best);
  EXPECT_EQ(LimitSimd("sse9").code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Simd().level, best);
}

TEST(SimdLevelTest, ALevelThatTheCpuLacksChangesNothing) {
  const char* before = SimdLevelName();
  EXPECT_FALSE(ForceSimdLevel(static_cast<SimdLevel>(99)));
  EXPECT_STREQ(SimdLevelName(), before);
}

}  // namespace
}  // namespace imagesearch::index
