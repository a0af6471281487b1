// Aliases, quotas and changed settings of the embedded database.
#include <atomic>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "index/embedded_database.h"
#include "tests/index/temp_dir.h"

namespace imagesearch::index {
namespace {

using ::testing::HasSubstr;

class CatalogTest : public ::testing::Test {
 protected:
  void SetUp() override { Open(); }

  void Open() {
    database_.reset();
    EmbeddedOptions options;
    options.data_dir = dir_.path() + "/data";
    options.build_threads = 1;
    options.clock = [this] { return now_; };
    auto database = OpenEmbedded(options);
    ASSERT_TRUE(database.ok()) << database.status();
    database_ = *std::move(database);
  }

  std::string Create(const std::string& name, Quota quota = {}) {
    CollectionOptions options;
    options.name = name;
    options.dimension = 2;
    options.quota = quota;
    return ReasonOf(database_->CreateCollection(options).status());
  }

  std::shared_ptr<Collection> Get(const std::string& name) {
    auto collection = database_->GetCollection(name);
    EXPECT_TRUE(collection.ok()) << collection.status();
    return collection.ok() ? *collection : nullptr;
  }

  static UpsertItem Item(const std::string& id, size_t metadata_bytes = 0) {
    UpsertItem item;
    item.id = id;
    item.vector = {1, 1};
    if (metadata_bytes > 0) {
      item.metadata.emplace();
      (*item.metadata->mutable_fields())["x"].set_string_value(std::string(metadata_bytes, 'x'));
    }
    return item;
  }

  std::string Put(const std::string& collection, UpsertItem item) {
    std::vector<UpsertItem> items;
    items.push_back(std::move(item));
    auto result = Get(collection)->Upsert(std::move(items), {});
    return ReasonOf(result.ok() ? result->items[0].status : result.status());
  }

  TempDir dir_;
  absl::Time now_ = absl::FromUnixSeconds(1'000'000);
  std::unique_ptr<Database> database_;
};

TEST_F(CatalogTest, AnAliasStandsForItsCollectionAndSurvivesARestart) {
  ASSERT_EQ(Create("photos-1"), "");
  ASSERT_EQ(Create("photos-2"), "");
  ASSERT_TRUE(database_->SetAlias("photos", "photos-1").ok());
  EXPECT_EQ(Put("photos", Item("a")), "");
  EXPECT_EQ(Get("photos-1")->Info().image_count, 1u);
  EXPECT_EQ(Get("photos")->options().name, "photos-1");
  ASSERT_TRUE(database_->SetAlias("photos", "photos-2").ok());
  EXPECT_EQ(Get("photos")->Info().image_count, 0u);
  Open();
  EXPECT_EQ(Get("photos")->options().name, "photos-2");
  ASSERT_EQ(database_->ListAliases().size(), 1u);
  EXPECT_EQ(database_->ListAliases()[0].collection, "photos-2");
  ASSERT_TRUE(database_->DeleteAlias("photos").ok());
  EXPECT_EQ(ReasonOf(database_->GetCollection("photos").status()), "NO_SUCH_COLLECTION");
  Open();
  EXPECT_TRUE(database_->ListAliases().empty());
}

TEST_F(CatalogTest, NamesOfCollectionsAndAliasesDoNotClash) {
  ASSERT_EQ(Create("one"), "");
  ASSERT_EQ(Create("two"), "");
  EXPECT_EQ(ReasonOf(database_->SetAlias("two", "one").status()), "ALREADY_EXISTS");
  ASSERT_TRUE(database_->SetAlias("alias", "one").ok());
  EXPECT_EQ(Create("alias"), "ALREADY_EXISTS");
  EXPECT_EQ(ReasonOf(database_->SetAlias("x", "nothing").status()), "NO_SUCH_COLLECTION");
  EXPECT_EQ(ReasonOf(database_->SetAlias("Big", "one").status()), "BAD_NAME");
  EXPECT_EQ(ReasonOf(database_->DeleteAlias("one").status()), "NO_SUCH_ALIAS");
}

TEST_F(CatalogTest, ACollectionWithAnAliasIsNotDeleted) {
  ASSERT_EQ(Create("one"), "");
  ASSERT_TRUE(database_->SetAlias("alias", "one").ok());
  EXPECT_EQ(ReasonOf(database_->DeleteCollection("one").status()), "HAS_ALIAS");
  EXPECT_EQ(ReasonOf(database_->DeleteCollection("alias").status()), "HAS_ALIAS");
  ASSERT_TRUE(database_->DeleteAlias("alias").ok());
  EXPECT_TRUE(database_->DeleteCollection("one").ok());
}

// An alias of an alias would let a switch of one move the other.
TEST_F(CatalogTest, AnAliasOfAnAliasStandsForTheCollectionBehindIt) {
  ASSERT_EQ(Create("one"), "");
  ASSERT_EQ(Create("two"), "");
  ASSERT_TRUE(database_->SetAlias("a", "one").ok());
  ASSERT_TRUE(database_->SetAlias("b", "a").ok());
  ASSERT_TRUE(database_->SetAlias("a", "two").ok());
  EXPECT_EQ(Get("b")->options().name, "one");
}

TEST_F(CatalogTest, ReadersOfASwitchingAliasAlwaysFindOneOfTheTwo) {
  ASSERT_EQ(Create("one"), "");
  ASSERT_EQ(Create("two"), "");
  ASSERT_EQ(Put("one", Item("1")), "");
  ASSERT_EQ(Put("two", Item("2")), "");
  ASSERT_TRUE(database_->SetAlias("a", "one").ok());
  std::atomic<bool> stop{false};
  std::atomic<int> wrong{0}, seen{0};
  std::thread reader([&] {
    while (!stop) {
      auto collection = database_->GetCollection("a");
      if (!collection.ok()) {
        ++wrong;
        continue;
      }
      Query query;
      query.vector = {1, 1};
      auto result = (*collection)->Search(query);
      const std::string wanted = (*collection)->options().name == "one" ? "1" : "2";
      if (!result.ok() || result->hits.size() != 1 || result->hits[0].id != wanted) ++wrong;
      ++seen;
    }
  });
  for (int i = 0; i < 50; ++i) {
    ASSERT_TRUE(database_->SetAlias("a", i % 2 == 0 ? "two" : "one").ok());
  }
  while (seen < 100) std::this_thread::yield();
  stop = true;
  reader.join();
  EXPECT_EQ(wrong, 0);
}

TEST_F(CatalogTest, TheQuotaOfImagesRefusesSingleItems) {
  ASSERT_EQ(Create("c", {.max_images = 2}), "");
  std::vector<UpsertItem> items;
  for (const char* id : {"a", "b", "c"}) items.push_back(Item(id));
  auto result = Get("c")->Upsert(std::move(items), {});
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(result->items[0].status.ok());
  EXPECT_TRUE(result->items[1].status.ok());
  EXPECT_EQ(result->items[2].status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(result->items[2].status), "QUOTA");
  EXPECT_THAT(std::string(result->items[2].status.message()), HasSubstr("2 images and may hold 2"));
  EXPECT_EQ(Put("c", Item("a")), "");  // a replacement needs no room
  Open();
  EXPECT_EQ(Put("c", Item("c")), "QUOTA");
  ASSERT_TRUE(Get("c")->Delete(std::vector<std::string>{"a"}).ok());
  EXPECT_EQ(Put("c", Item("c")), "");
}

TEST_F(CatalogTest, AnExpiredImageMakesRoom) {
  ASSERT_EQ(Create("c", {.max_images = 1}), "");
  UpsertItem item = Item("a");
  item.expire_time = now_ + absl::Seconds(5);
  ASSERT_EQ(Put("c", std::move(item)), "");
  ASSERT_EQ(Put("c", Item("b")), "QUOTA");
  now_ += absl::Seconds(6);
  EXPECT_EQ(Put("c", Item("b")), "");
}

TEST_F(CatalogTest, TheQuotaOfBytesCountsMetadataAndSurvivesARestart) {
  ASSERT_EQ(Create("c"), "");
  ASSERT_EQ(Put("c", Item("a", 1000)), "");
  const uint64_t used = Get("c")->Info().stored_bytes;
  EXPECT_GT(used, 1000u);
  EXPECT_LT(used, 1200u);
  ASSERT_TRUE(database_->UpdateCollection("c", {.quota = Quota{0, 2 * used}}).ok());
  EXPECT_EQ(Put("c", Item("b", 1000)), "");
  EXPECT_EQ(Put("c", Item("c", 1)), "QUOTA");
  EXPECT_EQ(Put("c", Item("b", 2000)), "QUOTA");
  UpsertItem smaller = Item("b", 10);
  smaller.vector.reset();
  EXPECT_EQ(Put("c", std::move(smaller)), "");
  EXPECT_LT(Get("c")->Info().stored_bytes, 2 * used - 900);
  const uint64_t before = Get("c")->Info().stored_bytes;
  Open();
  EXPECT_EQ(Get("c")->Info().stored_bytes, before);
  EXPECT_EQ(Get("c")->options().quota.max_bytes, 2 * used);
  ASSERT_TRUE(Get("c")->Delete(std::vector<std::string>{"a", "b"}).ok());
  EXPECT_EQ(Get("c")->Info().stored_bytes, 0u);
}

TEST_F(CatalogTest, ConcurrentWritersDoNotOvershootTheQuota) {
  ASSERT_EQ(Create("c", {.max_images = 50}), "");
  std::atomic<int> stored{0}, refused{0};
  std::vector<std::thread> writers;
  for (int w = 0; w < 8; ++w) {
    writers.emplace_back([&, w] {
      for (int i = 0; i < 20; ++i) {
        const std::string reason = Put("c", Item(std::to_string(w) + "-" + std::to_string(i)));
        ++(reason.empty() ? stored : refused);
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(stored, 50);
  EXPECT_EQ(refused, 110);
  EXPECT_EQ(Get("c")->Info().image_count, 50u);
}

TEST_F(CatalogTest, ASettingThatIsLeftOutStays) {
  ASSERT_EQ(Create("c", {.max_images = 7}), "");
  ASSERT_TRUE(database_->UpdateCollection("c", {.target_recall = 0.9f}).ok());
  EXPECT_EQ(Get("c")->options().quota.max_images, 7u);
  EXPECT_EQ(ReasonOf(database_->UpdateCollection("c", {.target_recall = 2.0f}).status()),
            "BAD_INDEX");
  Open();
  EXPECT_EQ(Get("c")->options().quota.max_images, 7u);
  EXPECT_FLOAT_EQ(Get("c")->options().index.target_recall, 0.9f);
}

TEST_F(CatalogTest, AMemoryBudgetIsKeptAndToldAndSurvivesARestart) {
  constexpr int kDimension = 64;
  constexpr uint64_t kBudget = 150'000;
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<UpsertItem> items;
  for (int i = 0; i < 3000; ++i) {
    UpsertItem item;
    item.id = absl::StrCat("image-", i);
    item.vector = std::vector<float>(kDimension);
    for (float& x : *item.vector) x = normal(random);
    items.push_back(std::move(item));
  }
  for (const char* name : {"bounded", "free"}) {
    CollectionOptions options;
    options.name = name;
    options.dimension = kDimension;
    if (options.name == "bounded") options.index.memory_bytes = kBudget;
    ASSERT_TRUE(database_->CreateCollection(options).ok());
    ASSERT_TRUE(Get(name)->Upsert(items, {}).ok());
    ASSERT_TRUE(Get(name)->Optimize().ok());
  }
  EXPECT_EQ(Get("free")->Info().serving_pq_bytes, 0);
  EXPECT_GT(Get("free")->Info().index_bytes, kBudget);
  for (bool restarted : {false, true}) {
    if (restarted) Open();
    const CollectionInfo info = Get("bounded")->Info();
    EXPECT_EQ(info.options.index.memory_bytes, kBudget);
    EXPECT_EQ(info.serving_kind, IndexKind::kIvf);
    EXPECT_EQ(info.serving_pq_bytes, 8);
    EXPECT_LE(info.index_bytes, kBudget);
    EXPECT_GE(info.memory_bytes, info.index_bytes);
    size_t found = 0;
    for (int i = 0; i < 100; ++i) {
      Query query;
      query.vector = *items[i].vector;
      query.limit = 1;
      auto result = Get("bounded")->Search(query);
      ASSERT_TRUE(result.ok()) << result.status();
      if (result->hits.size() == 1 && result->hits[0].id == items[i].id) ++found;
    }
    EXPECT_GE(found, 98u);
  }
}

}  // namespace
}  // namespace imagesearch::index
