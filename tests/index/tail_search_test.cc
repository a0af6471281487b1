// Rows that came after the newest index was built are found like the rest: by lists of that index
// where an approximate answer is wanted, by a scan where an exact or a filtered one is.
#include <set>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "index/embedded_database.h"
#include "tests/index/ann_data.h"
#include "tests/index/temp_dir.h"

namespace imagesearch::index {
namespace {

constexpr uint32_t kIndexed = 4000, kTail = 1500, kQueries = 100;
constexpr int kDimension = 64;

class TailSearchTest : public ::testing::Test {
 protected:
  void Open(int merge_tail_rows) {
    EmbeddedOptions options;
    options.data_dir = folder_.path() + "/data";
    options.merge_tail_rows = merge_tail_rows;
    options.min_indexed_rows = 100;
    options.build_threads = 1;
    options.disk_reserve_bytes = 1;
    options.text_sample = [this](const CollectionOptions&) { return data_.text_sample; };
    auto opened = OpenEmbedded(options);
    ASSERT_TRUE(opened.ok()) << opened.status();
    database_ = *std::move(opened);
    CollectionOptions collection;
    collection.name = "c";
    collection.dimension = kDimension;
    collection.index.kind = IndexKind::kIvf;
    ASSERT_TRUE(database_->CreateCollection(collection).ok());
    collection_ = *database_->GetCollection("c");
  }
  void OpenWithTail() {
    Open(1 << 30);
    Write(0, kIndexed);
    ASSERT_TRUE(collection_->Optimize().ok());
    Write(kIndexed, kIndexed + kTail);
    ASSERT_EQ(collection_->Info().tail_rows, kTail);
  }

  void Write(uint32_t begin, uint32_t end) {
    std::vector<UpsertItem> items;
    for (uint32_t i = begin; i < end; ++i) {
      UpsertItem item;
      item.id = absl::StrCat(i);
      item.vector.emplace(Row(i), Row(i) + kDimension);
      items.push_back(std::move(item));
    }
    ASSERT_TRUE(collection_->Upsert(std::move(items), {}).ok());
  }
  const float* Row(uint32_t i) const { return data_.images.data() + size_t{i} * kDimension; }

  std::vector<std::string> Search(const float* vector, QueryKind kind, bool exact, size_t limit) {
    Query query;
    query.vector.assign(vector, vector + kDimension);
    query.kind = kind;
    query.exact = exact;
    query.limit = limit;
    auto result = collection_->Search(query);
    EXPECT_TRUE(result.ok()) << result.status();
    std::vector<std::string> ids;
    for (const Hit& hit : result->hits) ids.push_back(hit.id);
    return ids;
  }

  // Recall@10, over the hits from row `first` on.
  double RecallFrom(uint32_t first, QueryKind kind, const float* queries) {
    int found = 0, all = 0;
    for (uint32_t q = 0; q < kQueries; ++q) {
      const float* vector = queries + size_t{q} * kDimension;
      const auto ids = Search(vector, kind, false, 10);
      const std::set<std::string> hits(ids.begin(), ids.end());
      for (const std::string& id : Search(vector, kind, true, 10)) {
        if (std::stoul(id) < first) continue;
        ++all;
        found += static_cast<int>(hits.count(id));
      }
    }
    EXPECT_GT(all, 100);
    return static_cast<double>(found) / all;
  }

  const testing::ClipLikeData data_ =
      testing::MakeClipLike({.images = kIndexed + kTail, .queries = kQueries});
  TempDir folder_;
  std::unique_ptr<Database> database_;
  std::shared_ptr<Collection> collection_;
};

TEST_F(TailSearchTest, RecallOfNewRowsIsThatOfTheIndex) {
  OpenWithTail();
  EXPECT_GE(RecallFrom(kIndexed, QueryKind::kText, data_.text_queries.data()), 0.95);
  EXPECT_GE(RecallFrom(kIndexed, QueryKind::kImage, data_.image_queries.data()), 0.95);
}

TEST_F(TailSearchTest, RecallHoldsOverPartsOfAllSizes) {
  Open(300);
  Write(0, kIndexed);
  ASSERT_TRUE(collection_->Optimize().ok());
  for (const uint32_t end : {4400u, 4800u, 5200u}) {
    Write(end - 400, end);
    const absl::Time until = absl::Now() + absl::Seconds(20);
    while (collection_->Info().tail_rows > 0 && absl::Now() < until) {
      absl::SleepFor(absl::Milliseconds(20));
    }
  }
  ASSERT_GE(collection_->Info().segments, 2u);
  Write(5200, kIndexed + kTail);
  EXPECT_GE(RecallFrom(0, QueryKind::kText, data_.text_queries.data()), 0.95);
  EXPECT_GE(RecallFrom(0, QueryKind::kImage, data_.image_queries.data()), 0.95);
}

TEST_F(TailSearchTest, EveryNewRowFindsItself) {
  OpenWithTail();
  for (uint32_t i = kIndexed; i < kIndexed + kTail; ++i) {
    ASSERT_EQ(Search(Row(i), QueryKind::kImage, false, 1),
              std::vector<std::string>{absl::StrCat(i)});
  }
}

TEST_F(TailSearchTest, AsManyHitsAsThereAreAreFound) {
  OpenWithTail();
  std::vector<std::string> ids;
  for (uint32_t i = 0; i < kIndexed - 5; ++i) ids.push_back(absl::StrCat(i));
  ASSERT_TRUE(collection_->Delete(ids).ok());
  EXPECT_EQ(Search(Row(0), QueryKind::kImage, false, 1000).size(), 1000u);
}

}  // namespace
}  // namespace imagesearch::index
