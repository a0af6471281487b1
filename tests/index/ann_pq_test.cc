// Product-quantised codes: kernels against plain arithmetic, approximate scores, sizes, and the
// choice of an index by a memory budget. What every kind must hold is in ann_index_test.cc.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "index/ann/aligned.h"
#include "index/ann/budget.h"
#include "index/ann/codes.h"
#include "index/ann/pq_codes.h"
#include "index/ann/pq_kernels.h"
#include "index/ann/pq_search.h"
#include "tests/index/ann_data.h"

namespace imagesearch::index {
namespace {

using testing::ClipLikeData;
using ::testing::ElementsAre;
using testing::MakeClipLike;
using testing::MemoryVectors;
using testing::PlainSearch;

class PqKernelsTest : public ::testing::Test {
 protected:
  int Draw(int low, int high) { return std::uniform_int_distribution<int>(low, high)(random_); }
  std::mt19937 random_{20240611};
};

TEST_F(PqKernelsTest, TablesAreTheProductsWithTheEntries) {
  std::normal_distribution<float> normal;
  for (size_t width = 1; width <= 70; ++width) {
    std::vector<float> x(width + 1), book(width * kPqEntries + 1);
    for (float& value : x) value = normal(random_);
    for (float& value : book) value = normal(random_);
    for (const PqKernels* kernels : AvailablePqKernels()) {
      float table[kPqEntries];
      kernels->table(x.data() + 1, book.data() + 1, width, table);  // no alignment is asked for
      for (size_t c = 0; c < kPqEntries; ++c) {
        double sum = 0, size = 0;
        for (size_t j = 0; j < width; ++j) {
          const double product = static_cast<double>(x[j + 1]) * book[1 + j * kPqEntries + c];
          sum += product;
          size += std::fabs(product);
        }
        ASSERT_NEAR(table[c], sum, 1e-6 * size) << kernels->name << " " << width;
      }
    }
  }
}

TEST_F(PqKernelsTest, TheNearestEntryIsNearest) {
  std::normal_distribution<float> normal;
  for (int round = 0; round < 300; ++round) {
    const size_t width = static_cast<size_t>(Draw(1, 40));
    std::vector<float> x(width), book(width * kPqEntries), half_norms(kPqEntries, 0.0f);
    for (float& value : x) value = normal(random_);
    // Small whole numbers in one of three: many equals, of which the first counts.
    const bool coarse = round % 3 == 0;
    if (coarse) {
      for (float& value : x) value = static_cast<float>(Draw(-1, 1));
    }
    for (size_t i = 0; i < book.size(); ++i) {
      book[i] = coarse ? static_cast<float>(Draw(-1, 1)) : normal(random_);
      half_norms[i % kPqEntries] += book[i] * book[i] / 2;
    }
    std::vector<double> distance(kPqEntries, 0.0);
    for (size_t i = 0; i < book.size(); ++i) {
      const double miss = static_cast<double>(x[i / kPqEntries]) - book[i];
      distance[i % kPqEntries] += miss * miss;
    }
    const auto first = std::min_element(distance.begin(), distance.end());
    for (const PqKernels* kernels : AvailablePqKernels()) {
      const uint32_t found = kernels->nearest(x.data(), book.data(), half_norms.data(), width);
      ASSERT_LT(found, kPqEntries);
      EXPECT_NEAR(distance[found], *first, 1e-4) << kernels->name;
      if (coarse) {
        EXPECT_EQ(found, static_cast<uint32_t>(first - distance.begin())) << kernels->name;
      }
    }
  }
}

TEST_F(PqKernelsTest, ScansAddUpAndCompareTheSameEverywhere) {
  for (int round = 0; round < 300; ++round) {
    const size_t columns = static_cast<size_t>(Draw(1, kMaxPqBytes + 1));
    const bool extreme = round % 5 == 0;  // sums as large as they get: 257 * 255 = 65,535
    AlignedVector<uint8_t> codes(columns * kPqBlock), table(columns * kPqEntries);
    for (uint8_t& code : codes) code = static_cast<uint8_t>(Draw(0, 255));
    for (uint8_t& value : table) value = static_cast<uint8_t>(extreme ? 255 : Draw(0, 255));
    std::vector<uint32_t> expected(kPqBlock, 0);
    for (size_t m = 0; m < columns; ++m) {
      for (size_t i = 0; i < kPqBlock; ++i) {
        expected[i] += table[m * kPqEntries + codes[m * kPqBlock + i]];
      }
    }
    for (int step : {-1, 0, 1}) {
      const int wanted = static_cast<int>(expected[static_cast<size_t>(Draw(0, 63))]) + step;
      const auto threshold = static_cast<uint16_t>(std::clamp(wanted, 0, 65'535));
      for (const PqKernels* kernels : AvailablePqKernels()) {
        uint16_t sums[kPqBlock];
        const uint64_t reached =
            kernels->scan(codes.data(), table.data(), columns, threshold, sums);
        for (size_t i = 0; i < kPqBlock; ++i) {
          ASSERT_EQ(sums[i], expected[i]) << kernels->name << " row " << i;
          ASSERT_EQ(reached >> i & 1, expected[i] >= threshold ? 1u : 0u) << kernels->name;
        }
      }
    }
  }
}

struct Built {
  std::shared_ptr<const MemoryVectors> vectors;
  std::vector<float> mean;
  Layout layout;
  Lists lists;
  PqCodes codes;
};

Built BuildCodes(const ClipLikeData& data, int pq_bytes, bool with_texts) {
  Built built;
  built.vectors = std::make_shared<MemoryVectors>(data.images, data.dimension);
  built.mean = MeanOf(*built.vectors, 1);
  auto clusters = ClusterRows(*built.vectors, built.mean, {.threads = 2});
  EXPECT_TRUE(clusters.ok());
  built.lists = Lists(*clusters, data.dimension);
  built.layout = Layout(clusters->order);
  PqOptions options;
  options.pq_bytes = pq_bytes;
  options.image_mean = built.mean;
  if (with_texts) options.text_sample = data.text_sample;
  options.threads = 2;
  EXPECT_TRUE(built.codes.Build(*built.vectors, built.layout, built.lists, options));
  return built;
}

// Root of the mean squared error of approximate scores, less their mean error, which changes no
// order.
double ScoreError(const Built& built, const float* query) {
  const PqQuery tables = built.codes.MakeQuery(query);
  double sum = 0, squares = 0;
  const auto nearest = built.lists.NearestScored(built.lists.EncodeQuery(query), built.lists.size(),
                                                 built.lists.size());
  for (const Lists::Scored& list : nearest) {
    for (uint32_t p = built.lists.begin(list.list); p < built.lists.end(list.list); ++p) {
      const double score = double{built.codes.ListProduct(list)} + tables.base +
                           double{tables.step} * built.codes.Sum(tables, p);
      const float* row = built.vectors->Row(built.layout.RowAt(p));
      double truth = 0;
      for (int j = 0; j < built.vectors->dimension(); ++j) {
        truth += static_cast<double>(query[j]) * row[j];
      }
      sum += score - truth;
      squares += (score - truth) * (score - truth);
    }
  }
  const double n = built.vectors->rows();
  return std::sqrt(std::max(0.0, squares / n - sum / n * (sum / n)));
}

TEST(PqCodesTest, LongerCodesScoreMoreExactly) {
  const ClipLikeData data = MakeClipLike({.images = 3000, .queries = 20});
  double before = 1;
  for (int pq_bytes : {4, 8, 16, 32, 64}) {
    const Built built = BuildCodes(data, pq_bytes, true);
    double error = 0;
    for (size_t i = 0; i < 20; ++i) error += ScoreError(built, data.ImageQuery(i)) / 20;
    EXPECT_LT(error, 0.8 * before) << pq_bytes;
    before = error;
  }
  // One entry a value: what is left is the rounding of tables and entries.
  EXPECT_LT(before, 0.004);
}

// What all texts share needs no share of the candidates.
TEST(PqCodesTest, TheSharedDirectionOfTextsTakesErrorOutOfTheirScores) {
  const ClipLikeData data = MakeClipLike({.images = 3000, .queries = 50});
  double with = 0, without = 0;
  for (bool texts : {false, true}) {
    const Built built = BuildCodes(data, 8, texts);
    for (size_t i = 0; i < 50; ++i) {
      (texts ? with : without) += ScoreError(built, data.TextQuery(i)) / 50;
    }
  }
  EXPECT_LT(with, 0.85 * without);
}

TEST(PqCodesTest, AsManyRowsAsEntriesAreCodedWithoutLoss) {
  const ClipLikeData data = MakeClipLike({.images = 200, .queries = 5, .dimension = 32});
  const Built built = BuildCodes(data, 4, true);
  for (size_t i = 0; i < 5; ++i) EXPECT_LT(ScoreError(built, data.TextQuery(i)), 0.003);
}

TEST(PqSizesTest, AreTheDivisorsOfTheDimension) {
  EXPECT_THAT(PqSizes(12), ElementsAre(1, 2, 3, 4, 6, 12));
  EXPECT_THAT(PqSizes(1), ElementsAre(1));
  EXPECT_THAT(PqSizes(1024), ElementsAre(1, 2, 4, 8, 16, 32, 64, 128, 256));
}

std::unique_ptr<AnnIndex> BuildWith(const ClipLikeData& data, IndexOptions index,
                                    uint64_t rows_beside = 0) {
  AnnBuildOptions options;
  options.index = index;
  options.rows_beside = rows_beside;
  options.threads = 2;
  options.text_sample = data.text_sample;
  auto built = BuildAnnIndex(std::make_shared<MemoryVectors>(data.images, data.dimension), options);
  EXPECT_TRUE(built.ok()) << built.status();
  return *std::move(built);
}

TEST(BudgetTest, EstimatesAreWhatIndexesTake) {
  const ClipLikeData data = MakeClipLike({.images = 9000, .queries = 20});
  const auto expect_near = [](uint64_t estimate, uint64_t taken) {
    EXPECT_NEAR(static_cast<double>(estimate), static_cast<double>(taken), 0.05 * taken);
  };
  const uint64_t listed = ListedBytes(9000, 64, 0);
  expect_near(FlatBytes(9000, 64), BuildWith(data, {.kind = IndexKind::kFlat})->memory_bytes());
  expect_near(listed, BuildWith(data, {.kind = IndexKind::kIvf})->memory_bytes());
  expect_near(listed + GraphBytes(9000, 16),
              BuildWith(data, {.kind = IndexKind::kHnsw})->memory_bytes());
  for (int pq_bytes : {4, 16}) {
    expect_near(PqBytes(9000, 64, 0, pq_bytes),
                BuildWith(data, {.kind = IndexKind::kIvf, .pq_bytes = pq_bytes})->memory_bytes());
  }
}

TEST(BudgetTest, AutoTakesTheLongestCodesThatFit) {
  const ClipLikeData data = MakeClipLike({.images = 9000, .queries = 20});
  const auto build = [&](uint64_t budget, uint64_t rows_beside) {
    return BuildWith(data, {.kind = IndexKind::kAuto, .memory_bytes = budget}, rows_beside);
  };
  EXPECT_EQ(build(0, 0)->pq_bytes(), 0);
  EXPECT_EQ(build(ListedBytes(9000, 64, 0), 0)->pq_bytes(), 0);
  for (int pq_bytes : {32, 4}) {
    const uint64_t budget = PqBytes(9000, 64, 0, pq_bytes) + 100;
    const auto index = build(budget, 0);
    EXPECT_EQ(index->kind(), IndexKind::kIvf);
    EXPECT_EQ(index->pq_bytes(), pq_bytes);
    EXPECT_LE(index->memory_bytes(), budget * 1.05);
    // A segment gets its share by rows.
    EXPECT_EQ(build(10 * budget, 81'000)->pq_bytes(), pq_bytes);
  }
  // Nothing fits: the smallest.
  EXPECT_EQ(build(1000, 0)->pq_bytes(), 1);
}

TEST(BudgetTest, TheGraphGivesWayFirst) {
  const uint64_t listed = ListedBytes(100'000, 512, 0), links = GraphBytes(100'000, 16);
  const auto choose = [](uint64_t budget, bool scanned = false) {
    return ChooseForBudget(budget, 100'000, 512, scanned, 0, 16);
  };
  EXPECT_TRUE(choose(listed + links).graph);
  EXPECT_FALSE(choose(listed + links - 1).graph);
  EXPECT_EQ(choose(listed).pq_bytes, 0);
  EXPECT_EQ(choose(listed - 1).pq_bytes, 256);
  EXPECT_TRUE(choose(listed - 1).fits);
  EXPECT_EQ(choose(listed - 1, true).pq_bytes, 0);  // scanned rows need no lists
  EXPECT_EQ(choose(8'700'000).pq_bytes, 64);
  EXPECT_FALSE(choose(1'000'000).fits);
  EXPECT_EQ(choose(1'000'000).pq_bytes, 8);  // 512 / 64
}

TEST(PqMemoryTest, CodesOf64BytesTakeAboutAHundredAnImage) {
  const uint64_t rows = 100'000;
  EXPECT_LE(PqBytes(rows, 512, 0, 64), 100 * rows);
}

// Every list probed: what is lost is lost to the choice of candidates.
TEST(PqEffortTest, AllListsProbedHoldTheRecall) {
  const ClipLikeData data = MakeClipLike({.images = 4000});
  const auto vectors = std::make_shared<MemoryVectors>(data.images, data.dimension);
  const auto index = BuildWith(data, {.kind = IndexKind::kIvf, .pq_bytes = 8});
  double one = 0, all = 0;
  for (size_t i = 0; i < 50; ++i) {
    AnnQuery query;
    query.vector = data.TextQuery(i);
    query.kind = QueryKind::kText;
    query.effort = 1;
    one += testing::Recall(index->Search(query), PlainSearch(*vectors, query)) / 50;
    query.effort = 60'000;
    all += testing::Recall(index->Search(query), PlainSearch(*vectors, query)) / 50;
  }
  EXPECT_LT(one, 0.9);
  EXPECT_GE(all, 0.95);
}

}  // namespace
}  // namespace imagesearch::index
