// The parts of an index: the parallel loop, clusters, made-up texts, tuning.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <atomic>
#include <cmath>
#include <set>
#include <stdexcept>

#include "index/ann/cluster.h"
#include "index/ann/codes.h"
#include "index/ann/parallel.h"
#include "index/ann/sample_queries.h"
#include "index/ann/tuning.h"
#include "tests/index/ann_data.h"

namespace imagesearch::index {
namespace {

using testing::ClipLikeData;
using testing::MakeClipLike;
using testing::MemoryVectors;

TEST(ParallelForTest, EveryNumberComesOnce) {
  for (uint32_t n : {0u, 1u, 7u, 64u, 1000u}) {
    std::vector<std::atomic<int>> seen(n);
    ParallelFor(n, 3, 7, [&](uint32_t begin, uint32_t end) {
      EXPECT_LE(end - begin, 7u);
      for (uint32_t i = begin; i < end; ++i) ++seen[i];
    });
    for (uint32_t i = 0; i < n; ++i) EXPECT_EQ(seen[i], 1);
  }
}

TEST(ParallelForTest, AnExceptionReachesTheCaller) {
  const auto run = [] {
    ParallelFor(100, 2, 1, [](uint32_t begin, uint32_t) {
      if (begin == 50) throw std::runtime_error("out of luck");
    });
  };
  EXPECT_THROW(run(), std::runtime_error);
}

void ExpectSplit(const std::vector<uint32_t>& offsets, uint32_t end) {
  ASSERT_FALSE(offsets.empty());
  EXPECT_EQ(offsets.front(), 0u);
  EXPECT_EQ(offsets.back(), end);
  for (size_t i = 1; i < offsets.size(); ++i) EXPECT_LT(offsets[i - 1], offsets[i]) << "empty";
}

TEST(ClusterRowsTest, EveryRowIsInOneListAndNoListIsEmpty) {
  const ClipLikeData data = MakeClipLike({.images = 1500, .queries = 1, .dimension = 24});
  const MemoryVectors vectors(data.images, data.dimension);
  for (uint32_t lists : {0u, 1u, 40u, 5000u}) {
    const auto clusters = ClusterRows(vectors, MeanOf(vectors, 1), {.lists = lists, .threads = 2});
    ASSERT_TRUE(clusters.ok());
    ExpectSplit(clusters->offsets, 1500);
    EXPECT_EQ(std::set<uint32_t>(clusters->order.begin(), clusters->order.end()).size(), 1500u);
    const uint32_t count = static_cast<uint32_t>(clusters->offsets.size() - 1);
    if (lists > 0) {
      EXPECT_LE(count, lists);
    }
    ExpectSplit(clusters->group_offsets, count);
    EXPECT_EQ(clusters->centroids.size(), size_t{count} * 24);
    EXPECT_EQ(clusters->group_centroids.size(), (clusters->group_offsets.size() - 1) * 24);
  }
}

// All restarts of an empty list would land on the same vector.
TEST(ClusterRowsTest, EqualRowsMakeOneList) {
  const MemoryVectors vectors(std::vector<float>(400, 0.5f), 4);
  const auto clusters = ClusterRows(vectors, MeanOf(vectors, 1), {.lists = 10});
  ASSERT_TRUE(clusters.ok());
  ExpectSplit(clusters->offsets, 100);
  EXPECT_EQ(clusters->offsets.size(), 2u);
}

TEST(ClusterRowsTest, RowsOfAListLieNearItsCentroid) {
  const ClipLikeData data = MakeClipLike({.images = 1500, .queries = 1, .dimension = 24});
  const MemoryVectors vectors(data.images, data.dimension);
  const auto clusters = ClusterRows(vectors, MeanOf(vectors, 1), {.lists = 40});
  ASSERT_TRUE(clusters.ok());
  double own = 0, other = 0;
  const size_t count = clusters->offsets.size() - 1;
  for (size_t list = 0; list < count; ++list) {
    for (uint32_t i = clusters->offsets[list]; i < clusters->offsets[list + 1]; ++i) {
      const float* row = vectors.Row(clusters->order[i]);
      own += Simd().dot_f32(row, clusters->centroids.data() + list * 24, 24) / 1500;
      other += Simd().dot_f32(row, clusters->centroids.data() + (list + 1) % count * 24, 24) / 1500;
    }
  }
  EXPECT_GT(own, other + 0.1);
}

TEST(SyntheticTextsTest, TheyAreUnitVectorsAwayFromTheImages) {
  const ClipLikeData data = MakeClipLike({.images = 1000, .queries = 1, .dimension = 256});
  const MemoryVectors vectors(data.images, data.dimension);
  const std::vector<float> mean = MeanOf(vectors, 1);
  const std::vector<float> texts = SyntheticTexts(vectors, mean, 50, 3);
  ASSERT_EQ(texts.size(), 50u * 256);
  double cosine = 0;
  for (int i = 0; i < 50; ++i) {
    const float* text = texts.data() + i * 256;
    EXPECT_NEAR(Simd().dot_f32(text, text, 256), 1, 1e-5);
    for (uint32_t row = 0; row < 1000; ++row) {
      cosine += Simd().dot_f32(text, vectors.Row(row), 256) / 50'000;
    }
  }
  EXPECT_NEAR(cosine, 0.2, 0.08);
}

TEST(SampleRowsTest, RowsAreDistinctAndNoMoreThanThereAre) {
  for (uint32_t count : {0u, 5u, 20u, 50u}) {
    const std::vector<uint32_t> rows = SampleRows(20, count, 1);
    EXPECT_EQ(rows.size(), std::min(count, 20u));
    EXPECT_EQ(std::set<uint32_t>(rows.begin(), rows.end()).size(), rows.size());
  }
}

TEST(TuningTest, ProbesGrowWithDepthAndStayInRange) {
  KindTuning kind;
  kind.probes = {4, 16, 64};
  EXPECT_EQ(Tuning::Probes(kind, 1, 1000), 4u);
  EXPECT_EQ(Tuning::Probes(kind, 10, 1000), 4u);
  EXPECT_EQ(Tuning::Probes(kind, 100, 1000), 16u);
  EXPECT_EQ(Tuning::Probes(kind, 1000, 1000), 64u);
  EXPECT_EQ(Tuning::Probes(kind, 10'000, 1000), 256u);
  EXPECT_EQ(Tuning::Probes(kind, 1e30, 1000), 1000u);
  uint32_t last = 0;
  for (double k = 1; k < 1e5; k *= 1.3) {
    const uint32_t probes = Tuning::Probes(kind, k, 1000);
    EXPECT_GE(probes, last);
    last = probes;
  }
  EXPECT_EQ(Tuning::Probes(kind, 10, 0), 1u);
  kind.first = 1;
  EXPECT_EQ(Tuning::Probes(kind, 1, 1000), 1u);
  EXPECT_EQ(Tuning::Probes(kind, 10, 1000), 4u);
}

TEST(TuningTest, ASmallPartIsSearchedLessDeeply) {
  EXPECT_EQ(Tuning::Depth(10, 1), 10);
  EXPECT_EQ(Tuning::Depth(10, 0.5), 10);
  EXPECT_DOUBLE_EQ(Tuning::Depth(10, 0.1), 3);
  EXPECT_EQ(Tuning::Depth(10, 0.001), 1);
}

}  // namespace
}  // namespace imagesearch::index
