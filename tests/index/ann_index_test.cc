// What every index kind must hold, at every instruction-set level: exact answers equal to a plain
// search, recall, masks, sizes, and survival of damaged files.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <set>

#include "index/ann/simd.h"
#include "tests/index/ann_data.h"

namespace imagesearch::index {
namespace {

using testing::ClipLikeData;
using testing::ClipLikeOptions;
using testing::MakeClipLike;
using testing::MemoryVectors;
using testing::PlainSearch;
using testing::StringSink;
using testing::StringSource;

struct Mask {
  explicit Mask(uint32_t rows) : words((rows + 63) / 64, 0) {}
  void Allow(uint32_t row) {
    words[row / 64] |= uint64_t{1} << (row % 64);
    ++count;
  }
  RowMask get() const { return {words.data(), count}; }
  std::vector<uint64_t> words;
  uint32_t count = 0;
};

// A kind of index; `pq`: of product-quantised codes.
struct Kind {
  Kind(IndexKind kind, bool pq = false) : kind(kind), pq(pq) {}  // NOLINT: implicit
  IndexOptions OptionsFor(int dimension) const {
    IndexOptions options;
    options.kind = kind;
    options.pq_bytes = pq ? (dimension % 8 == 0 ? dimension / 8 : 1) : 0;
    return options;
  }
  IndexKind kind;
  bool pq;
};

std::ostream& operator<<(std::ostream& out, const Kind& kind) {
  return out << static_cast<int>(kind.kind) << (kind.pq ? " PQ" : "");
}

std::unique_ptr<AnnIndex> Build(std::shared_ptr<const VectorSource> vectors, Kind kind,
                                std::vector<float> text_sample = {}) {
  AnnBuildOptions options;
  options.index = kind.OptionsFor(vectors->dimension());
  options.threads = 2;
  options.text_sample = std::move(text_sample);
  absl::StatusOr<std::unique_ptr<AnnIndex>> index = BuildAnnIndex(std::move(vectors), options);
  EXPECT_TRUE(index.ok()) << index.status();
  return index.ok() ? *std::move(index) : nullptr;
}

// The same rows with the same scores; rows whose scores round to a tie may stand either way.
void ExpectExact(const std::vector<Neighbor>& found, const std::vector<Neighbor>& truth) {
  ASSERT_EQ(found.size(), truth.size());
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_NEAR(found[i].score, truth[i].score, 2e-6) << i;
    if (found[i].row != truth[i].row) {
      EXPECT_NEAR(found[i].score, truth[i].score, 5e-7) << i;
    }
  }
}

void ExpectSound(const std::vector<Neighbor>& found, const VectorSource& vectors,
                 const AnnQuery& query, size_t allowed) {
  EXPECT_EQ(found.size(), std::min<size_t>(query.k, allowed));
  std::set<uint32_t> rows;
  for (size_t i = 0; i < found.size(); ++i) {
    EXPECT_TRUE(rows.insert(found[i].row).second) << "row twice";
    EXPECT_TRUE(query.mask.Allows(found[i].row));
    if (i > 0) {
      EXPECT_FALSE(found[i] < found[i - 1]);
    }
    double score = 0;
    for (int j = 0; j < vectors.dimension(); ++j) {
      score += static_cast<double>(query.vector[j]) * vectors.Row(found[i].row)[j];
    }
    EXPECT_NEAR(found[i].score, score, 2e-6);
  }
}

class AnnIndexTest : public ::testing::TestWithParam<Kind> {};

TEST_P(AnnIndexTest, ExactAnswersEqualAPlainSearchAtEverySimdLevel) {
  const ClipLikeData data = MakeClipLike({});
  const auto vectors = std::make_shared<MemoryVectors>(data.images, data.dimension);
  for (SimdLevel level : AvailableSimdLevels()) {
    ASSERT_TRUE(ForceSimdLevel(level));
    const auto index = Build(vectors, GetParam(), data.text_sample);
    std::vector<AnnQuery> queries;
    for (size_t i = 0; i < 40; ++i) {
      AnnQuery query;
      query.vector = i % 2 ? data.TextQuery(i) : data.ImageQuery(i);
      query.kind = i % 2 ? QueryKind::kText : QueryKind::kImage;
      query.k = static_cast<int>(1 + i * 7 % 50);
      query.exact = true;
      queries.push_back(query);
      ExpectExact(index->Search(query), PlainSearch(*vectors, query));
    }
    const auto batch = index->SearchBatch(queries);
    ASSERT_EQ(batch.size(), queries.size());
    for (size_t i = 0; i < queries.size(); ++i) {
      ExpectExact(batch[i], PlainSearch(*vectors, queries[i]));
    }
  }
  ForceSimdLevel(std::nullopt);
}

TEST_P(AnnIndexTest, RecallHoldsForImageAndTextQueries) {
  const ClipLikeData data = MakeClipLike({.images = 6000, .queries = 250, .dimension = 96});
  const auto vectors = std::make_shared<MemoryVectors>(data.images, data.dimension);
  const auto index = Build(vectors, GetParam(), data.text_sample);
  for (QueryKind kind : {QueryKind::kImage, QueryKind::kText, QueryKind::kMixed}) {
    double recall = 0;
    for (size_t i = 0; i < 250; ++i) {
      AnnQuery query;
      query.vector = kind == QueryKind::kImage ? data.ImageQuery(i) : data.TextQuery(i);
      query.kind = kind;
      const auto found = index->Search(query);
      ExpectSound(found, *vectors, query, vectors->rows());
      recall += testing::Recall(found, PlainSearch(*vectors, query)) / 250;
    }
    EXPECT_GE(recall, 0.95) << static_cast<int>(kind);
  }
}

TEST_P(AnnIndexTest, MaskedSearchesAreSoundAndFindWhatIsAllowed) {
  const ClipLikeData data = MakeClipLike({.images = 4000});
  const auto vectors = std::make_shared<MemoryVectors>(data.images, data.dimension);
  const auto index = Build(vectors, GetParam(), data.text_sample);
  std::mt19937 random(5);
  for (int per_mille : {0, 1, 10, 100, 500, 900}) {
    double recall = 0;
    int count = 0;
    for (size_t i = 0; i < 40; ++i) {
      Mask mask(vectors->rows());
      for (uint32_t row = 0; row < vectors->rows(); ++row) {
        if (static_cast<int>(random() % 1000) < per_mille) mask.Allow(row);
      }
      AnnQuery query;
      query.vector = i % 2 ? data.TextQuery(i) : data.ImageQuery(i);
      query.kind = i % 2 ? QueryKind::kText : QueryKind::kImage;
      query.mask = mask.get();
      const auto found = index->Search(query);
      ExpectSound(found, *vectors, query, mask.count);
      recall += testing::Recall(found, PlainSearch(*vectors, query));
      ++count;
      query.exact = true;
      ExpectExact(index->Search(query), PlainSearch(*vectors, query));
    }
    EXPECT_GE(recall / count, 0.95) << per_mille;
  }
}

// All that match lie far from the query, or near it, or everywhere but near it.
TEST_P(AnnIndexTest, MasksThatFollowTheScoreKeepRecall) {
  const ClipLikeData data = MakeClipLike({.images = 4000});
  const auto vectors = std::make_shared<MemoryVectors>(data.images, data.dimension);
  const auto index = Build(vectors, GetParam(), data.text_sample);
  for (const auto& [from, to] : {std::pair{2400, 4000}, {0, 1500}, {100, 4000}, {30, 2000}}) {
    double recall = 0;
    for (size_t i = 0; i < 30; ++i) {
      AnnQuery query;
      query.vector = i % 2 ? data.TextQuery(i) : data.ImageQuery(i);
      query.kind = i % 2 ? QueryKind::kText : QueryKind::kImage;
      query.k = static_cast<int>(vectors->rows());
      const auto ranked = PlainSearch(*vectors, query);
      Mask mask(vectors->rows());
      for (int j = from; j < to; ++j) mask.Allow(ranked[j].row);
      query.k = 10;
      query.mask = mask.get();
      const auto found = index->Search(query);
      ExpectSound(found, *vectors, query, mask.count);
      recall += testing::Recall(found, PlainSearch(*vectors, query)) / 30;
    }
    EXPECT_GE(recall, 0.9) << "ranks " << from << " to " << to;
  }
}

TEST_P(AnnIndexTest, MoreAskedThanThereIsGivesEverything) {
  for (uint32_t rows : {1u, 2u, 9u, 70u}) {
    const ClipLikeData data = MakeClipLike({.images = rows, .queries = 3, .dimension = 5});
    const auto vectors = std::make_shared<MemoryVectors>(data.images, data.dimension);
    const auto index = Build(vectors, GetParam());
    for (QueryKind kind : {QueryKind::kImage, QueryKind::kText}) {
      AnnQuery query;
      query.vector = data.ImageQuery(0);
      query.kind = kind;
      query.k = 1000;
      ExpectExact(index->Search(query), PlainSearch(*vectors, query));
    }
  }
}

TEST_P(AnnIndexTest, NoRowsGiveNothing) {
  const auto vectors = std::make_shared<MemoryVectors>(std::vector<float>{}, 8);
  const auto index = Build(vectors, GetParam());
  const std::vector<float> vector(8, 0.35f);
  AnnQuery query;
  query.vector = vector.data();
  EXPECT_TRUE(index->Search(query).empty());
  query.exact = true;
  EXPECT_TRUE(index->Search(query).empty());
}

// Graphs link copies of a vector to each other alone; all must be found all the same.
TEST_P(AnnIndexTest, EqualVectorsAreAllFoundInRowOrder) {
  std::vector<float> values;
  for (int i = 0; i < 300; ++i) {
    const bool odd = i % 2;
    for (int j = 0; j < 4; ++j) values.push_back(j == (odd ? 1 : 0) ? 1.0f : 0.0f);
  }
  const auto vectors = std::make_shared<MemoryVectors>(values, 4);
  const auto index = Build(vectors, GetParam());
  AnnQuery query;
  query.vector = values.data();
  query.k = 160;
  const auto found = index->Search(query);
  ASSERT_EQ(found.size(), 160u);
  for (uint32_t i = 0; i < 150; ++i) {
    EXPECT_EQ(found[i].row, 2 * i);
    EXPECT_EQ(found[i].score, 1.0f);
  }
}

TEST_P(AnnIndexTest, ASavedIndexAnswersTheSame) {
  const ClipLikeData data = MakeClipLike({});
  const auto vectors = std::make_shared<MemoryVectors>(data.images, data.dimension);
  const auto index = Build(vectors, GetParam(), data.text_sample);
  StringSink sink;
  ASSERT_TRUE(index->Save(sink).ok());
  StringSource source(sink.bytes);
  const auto loaded = LoadAnnIndex(source, vectors);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ(source.remaining(), 0u);
  EXPECT_EQ((*loaded)->kind(), index->kind());
  EXPECT_EQ((*loaded)->memory_bytes(), index->memory_bytes());
  for (size_t i = 0; i < 50; ++i) {
    AnnQuery query;
    query.vector = i % 2 ? data.TextQuery(i) : data.ImageQuery(i);
    query.kind = i % 2 ? QueryKind::kText : QueryKind::kImage;
    const auto a = index->Search(query), b = (*loaded)->Search(query);
    ASSERT_EQ(a.size(), b.size());
    for (size_t j = 0; j < a.size(); ++j) {
      EXPECT_EQ(a[j].row, b[j].row);
      EXPECT_EQ(a[j].score, b[j].score);
    }
  }
}

TEST_P(AnnIndexTest, ACutFileIsDataLoss) {
  const ClipLikeData data = MakeClipLike({.images = 200, .dimension = 16});
  const auto vectors = std::make_shared<MemoryVectors>(data.images, data.dimension);
  StringSink sink;
  ASSERT_TRUE(Build(vectors, GetParam())->Save(sink).ok());
  for (size_t size = 0; size < sink.bytes.size(); size += size < 256 ? 1 : 97) {
    StringSource source(sink.bytes.substr(0, size));
    EXPECT_EQ(LoadAnnIndex(source, vectors).status().code(), absl::StatusCode::kDataLoss) << size;
  }
}

TEST_P(AnnIndexTest, AFlippedFileIsRefusedOrAnswersSoundly) {
  const ClipLikeData data = MakeClipLike({.images = 200, .dimension = 16});
  const auto vectors = std::make_shared<MemoryVectors>(data.images, data.dimension);
  StringSink sink;
  ASSERT_TRUE(Build(vectors, GetParam())->Save(sink).ok());
  std::mt19937 random(3);
  for (int round = 0; round < 600; ++round) {
    std::string bytes = sink.bytes;
    const size_t at = round < 300 ? round % 150 : random() % bytes.size();
    bytes[at] = static_cast<char>(random());
    StringSource source(bytes);
    const auto loaded = LoadAnnIndex(source, vectors);
    if (!loaded.ok()) {
      EXPECT_EQ(loaded.status().code(), absl::StatusCode::kDataLoss);
      continue;
    }
    for (QueryKind kind : {QueryKind::kImage, QueryKind::kText}) {
      AnnQuery query;
      query.vector = data.ImageQuery(0);
      query.kind = kind;
      const auto found = (*loaded)->Search(query);
      EXPECT_LE(found.size(), 10u);
      for (const Neighbor& n : found) EXPECT_LT(n.row, 200u);
    }
  }
}

TEST_P(AnnIndexTest, AnIndexOfOtherVectorsIsDataLoss) {
  const ClipLikeData data = MakeClipLike({.images = 100, .dimension = 16});
  StringSink sink;
  ASSERT_TRUE(Build(std::make_shared<MemoryVectors>(data.images, 16), GetParam())->Save(sink).ok());
  for (const auto& [rows, dimension] : {std::pair{99, 16}, {101, 16}, {100, 15}, {200, 8}}) {
    StringSource source(sink.bytes);
    const auto other = std::make_shared<MemoryVectors>(
        std::vector<float>(static_cast<size_t>(rows) * dimension), dimension);
    EXPECT_EQ(LoadAnnIndex(source, other).status().code(), absl::StatusCode::kDataLoss);
  }
}

TEST_P(AnnIndexTest, ACancelledBuildStops) {
  const ClipLikeData data = MakeClipLike({.images = 20000, .queries = 1, .dimension = 16});
  AnnBuildOptions options;
  options.index = GetParam().OptionsFor(data.dimension);
  options.cancelled = std::make_shared<std::atomic<bool>>(true);
  const auto index =
      BuildAnnIndex(std::make_shared<MemoryVectors>(data.images, data.dimension), options);
  EXPECT_EQ(index.status().code(), absl::StatusCode::kCancelled);
}

INSTANTIATE_TEST_SUITE_P(Kinds, AnnIndexTest,
                         ::testing::Values(Kind(IndexKind::kFlat), Kind(IndexKind::kHnsw),
                                           Kind(IndexKind::kIvf), Kind(IndexKind::kIvf, true)));

TEST(AutoKindTest, FewRowsAreScannedAndMoreAreListed) {
  for (const auto& [rows, kind] : {std::pair{500u, IndexKind::kFlat}, {9000u, IndexKind::kIvf}}) {
    const ClipLikeData data = MakeClipLike({.images = rows, .queries = 20, .dimension = 16});
    const auto vectors = std::make_shared<MemoryVectors>(data.images, data.dimension);
    EXPECT_EQ(Build(vectors, IndexKind::kAuto)->kind(), kind);
  }
}

// A scan of each of many small parts took most of a search's time while images came in.
TEST(AutoKindTest, ASmallPartOfALargeCollectionIsListed) {
  const ClipLikeData data = MakeClipLike({.images = 2000, .queries = 1, .dimension = 16});
  const auto vectors = std::make_shared<MemoryVectors>(data.images, data.dimension);
  AnnBuildOptions options;
  const auto kind = [&] { return (*BuildAnnIndex(vectors, options))->kind(); };
  EXPECT_EQ(kind(), IndexKind::kFlat);
  options.rows_beside = 100'000;
  EXPECT_EQ(kind(), IndexKind::kIvf);
}

// `effort` and the collection's own settings: more of it can't find less.
TEST(EffortTest, AllListsProbedFindWhatAScanFinds) {
  const ClipLikeData data = MakeClipLike({.images = 3000});
  const auto vectors = std::make_shared<MemoryVectors>(data.images, data.dimension);
  const auto index = Build(vectors, IndexKind::kIvf);
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
  EXPECT_GE(all, 0.999);
}

TEST(EffortTest, AWiderWalkFindsMore) {
  const ClipLikeData data = MakeClipLike({.images = 3000, .spectrum = 0});
  const auto vectors = std::make_shared<MemoryVectors>(data.images, data.dimension);
  const auto index = Build(vectors, IndexKind::kHnsw);
  double narrow = 0, wide = 0;
  for (size_t i = 0; i < 100; ++i) {
    AnnQuery query;
    query.vector = data.ImageQuery(i);
    query.effort = 10;
    narrow += testing::Recall(index->Search(query), PlainSearch(*vectors, query)) / 100;
    query.effort = 400;
    wide += testing::Recall(index->Search(query), PlainSearch(*vectors, query)) / 100;
  }
  EXPECT_LT(narrow, wide);
  EXPECT_GE(wide, 0.99);
}

TEST(AnnIndexOptionsTest, NumbersOutOfRangeAreRefused) {
  const auto vectors = std::make_shared<MemoryVectors>(std::vector<float>{1, 0}, 2);
  const auto code = [&](IndexOptions index) {
    AnnBuildOptions options;
    options.index = index;
    return BuildAnnIndex(vectors, options).status().code();
  };
  EXPECT_EQ(code({.kind = IndexKind::kHnsw, .hnsw_m = 3}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.kind = IndexKind::kHnsw, .hnsw_m = 65}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.kind = IndexKind::kHnsw, .hnsw_ef_construction = 2001}),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.kind = IndexKind::kHnsw, .target_recall = 1.5f}),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.kind = IndexKind::kHnsw, .hnsw_m = 4}), absl::StatusCode::kOk);
  EXPECT_EQ(code({.kind = IndexKind::kIvf, .pq_bytes = 3}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.kind = IndexKind::kIvf, .pq_bytes = -1}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({.kind = IndexKind::kIvf, .pq_bytes = 2}), absl::StatusCode::kOk);
}

}  // namespace
}  // namespace imagesearch::index
