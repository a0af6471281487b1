// The bound of the tail's codes: what it rules out is never among the best.
#include <cmath>
#include <random>

#include "gtest/gtest.h"
#include "index/ann/tail_codes.h"
#include "index/store/dot.h"

namespace imagesearch::index {
namespace {

class TailCodesTest : public ::testing::TestWithParam<SimdLevel> {
 protected:
  void SetUp() override {
    if (!ForceSimdLevel(GetParam())) GTEST_SKIP() << "this CPU lacks the level";
  }
  void TearDown() override { ForceSimdLevel(std::nullopt); }
};

TEST_P(TailCodesTest, BoundsAreNeverBelowTheFloatScoreAndCloseToIt) {
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  for (int dimension : {1, 3, 64, 512, 1025}) {
    SCOPED_TRACE(dimension);
    constexpr uint32_t kRows = 300;
    TailCodes codes(dimension, kRows);
    std::vector<std::vector<float>> rows(kRows);
    for (uint32_t i = 0; i < kRows; ++i) {
      std::vector<float>& row = rows[i];
      double norm2 = 0;
      for (int j = 0; j < dimension; ++j) {
        // Spiky rows too: their codes are coarse.
        row.push_back(normal(random) * (i % 3 == 0 && j % 7 != 0 ? 0.01f : 1.0f));
        norm2 += double{row[j]} * row[j];
      }
      for (float& x : row) x /= static_cast<float>(std::sqrt(norm2));
      if (i == 5) std::fill(row.begin(), row.end(), 0.0f);
      codes.Set(i, row.data());
    }
    std::vector<float> bounds(kRows), likely(kRows);
    double looseness = 0;
    for (uint32_t q = 0; q < 20; ++q) {
      const QueryCode query = EncodeQueryCode(rows[q].data(), dimension);
      codes.UpperBounds(query, ErrorBound::kProved, kRows, bounds.data());
      codes.UpperBounds(query, ErrorBound::kLikely, kRows, likely.data());
      for (uint32_t i = 0; i < kRows; ++i) {
        const float score = Dot(rows[q].data(), rows[i].data(), dimension);
        ASSERT_GE(bounds[i], score) << "row " << i;
        ASSERT_LE(likely[i], bounds[i]);
        looseness = std::max(looseness, double{bounds[i]} - score);
      }
    }
    EXPECT_LT(looseness, 0.25);
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, TailCodesTest,
                         ::testing::Values(SimdLevel::kPortable, SimdLevel::kAvx2,
                                           SimdLevel::kAvx512, SimdLevel::kAvx512Vnni));

}  // namespace
}  // namespace imagesearch::index
