// The error bound of 8-bit codes, over random and awkward vectors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "index/ann/codes.h"
#include "tests/index/ann_data.h"

namespace imagesearch::index {
namespace {

using testing::MemoryVectors;
using testing::StringSink;
using testing::StringSource;

// Rows of very different sizes: zero, tiny, one coordinate only, dense.
std::vector<float> AwkwardRows(int rows, int d, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(rows) * d, 0.0f);
  for (int i = 0; i < rows; ++i) {
    float* x = values.data() + static_cast<size_t>(i) * d;
    switch (i % 5) {
      case 0:
        break;
      case 1:
        for (int j = 0; j < d; ++j) x[j] = 1e-20f * normal(random);
        break;
      case 2:
        x[random() % d] = 1;
        break;
      case 3:
        for (int j = 0; j < d; ++j) x[j] = 100 * normal(random);
        break;
      default:
        for (int j = 0; j < d; ++j) x[j] = normal(random) / std::sqrt(static_cast<float>(d));
    }
  }
  return values;
}

TEST(EncodedRowsTest, EveryScoreLiesWithinItsProvedBound) {
  for (int d : {1, 2, 3, 17, 64, 65, 512}) {
    const MemoryVectors rows(AwkwardRows(60, d, 1), d);
    const MemoryVectors queries(AwkwardRows(30, d, 2), d);
    const EncodedRows codes = EncodedRows::Encode(rows, MeanOf(rows, 1), {}, 1);
    for (uint32_t q = 0; q < queries.rows(); ++q) {
      const EncodedQuery query = codes.EncodeQuery(queries.Row(q));
      for (uint32_t i = 0; i < rows.rows(); ++i) {
        int32_t dot;
        Simd().dot_rows(codes.code(i), codes.stride(), 1, query.code.data(), &dot);
        double exact = 0;
        for (int j = 0; j < d; ++j) {
          exact += static_cast<double>(queries.Row(q)[j]) * rows.Row(i)[j];
        }
        // Rounding grows with the size of the numbers; the bound's allowance is for unit rows.
        const double size = std::fabs(exact) + std::fabs(query.base);
        EXPECT_LE(std::fabs(codes.Score(query, i, dot) - exact),
                  query.error + query.row_error * codes.scales()[i] + 1e-5 * size)
            << "d " << d << " query " << q << " row " << i;
      }
    }
  }
}

TEST(EncodedRowsTest, TheBoundIsTightEnoughToBeOfUse) {
  const testing::ClipLikeData data = testing::MakeClipLike({.dimension = 512});
  const MemoryVectors rows(data.images, data.dimension);
  const EncodedRows codes = EncodedRows::Encode(rows, MeanOf(rows, 1), {}, 1);
  const EncodedQuery query = codes.EncodeQuery(data.TextQuery(0));
  EXPECT_LT(query.error + query.row_error * codes.scales()[0], 0.03f);
}

TEST(EncodedRowsTest, AnOrderMovesRows) {
  const testing::ClipLikeData data = testing::MakeClipLike({.images = 3, .dimension = 8});
  const MemoryVectors rows(data.images, data.dimension);
  const std::vector<uint32_t> order = {2, 0, 1};
  const EncodedRows straight = EncodedRows::Encode(rows, MeanOf(rows, 1), {}, 1);
  const EncodedRows moved = EncodedRows::Encode(rows, MeanOf(rows, 1), order, 2);
  for (uint32_t i = 0; i < 3; ++i) {
    EXPECT_EQ(moved.scales()[i], straight.scales()[order[i]]);
    EXPECT_EQ(
        std::vector<uint8_t>(moved.code(i), moved.code(i) + moved.stride()),
        std::vector<uint8_t>(straight.code(order[i]), straight.code(order[i]) + straight.stride()));
  }
}

TEST(EncodedRowsTest, NumbersThatAreNotFiniteAreRefusedOnLoading) {
  const testing::ClipLikeData data = testing::MakeClipLike({.images = 4, .dimension = 8});
  const MemoryVectors rows(data.images, data.dimension);
  StringSink sink;
  EncodedRows::Encode(rows, MeanOf(rows, 1), {}, 1).Save(sink);
  // Three bounds, eight values of the mean, four scales: all floats.
  for (size_t i = 0; i < 3 + 8 + 4; ++i) {
    std::string bytes = sink.bytes;
    const float bad = std::numeric_limits<float>::quiet_NaN();
    std::memcpy(bytes.data() + i * sizeof(float), &bad, sizeof(bad));
    StringSource source(bytes);
    EncodedRows loaded;
    EXPECT_FALSE(loaded.Load(source, 4, 8)) << i;
  }
  StringSource source(sink.bytes);
  EncodedRows loaded;
  EXPECT_TRUE(loaded.Load(source, 4, 8));
}

}  // namespace
}  // namespace imagesearch::index
