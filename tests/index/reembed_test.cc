// A collection that is filled beside another one and takes its place.
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "index/embedded_database.h"
#include "tests/index/temp_dir.h"

namespace imagesearch::index {
namespace {

using ::testing::Optional;
using ::testing::UnorderedElementsAre;

class ReembedTest : public ::testing::Test {
 protected:
  void SetUp() override {
    Open();
    CollectionOptions options;
    options.name = "c";
    options.dimension = 2;
    options.model_id = "old@1";
    options.model_fingerprint = "old";
    options.quota.max_images = 100;
    ASSERT_TRUE(database_->CreateCollection(options).ok());
  }

  void Open() {
    reembedding_.reset();
    database_.reset();
    EmbeddedOptions options;
    options.data_dir = dir_.path() + "/data";
    options.build_threads = 1;
    auto database = OpenEmbedded(options);
    ASSERT_TRUE(database.ok()) << database.status();
    database_ = *std::move(database);
  }

  std::shared_ptr<Collection> Get() { return *database_->GetCollection("c"); }

  std::string Begin(const std::string& model = "new") {
    auto begun = database_->BeginReembed("c", {3, model + "@2", model});
    if (begun.ok()) reembedding_ = *std::move(begun);
    return ReasonOf(begun.status());
  }

  static std::string Put(Collection& collection, const std::string& id, uint64_t source = 0) {
    UpsertItem item;
    item.id = id;
    item.vector = std::vector<float>(collection.options().dimension, 1);
    item.source_version = source;
    std::vector<UpsertItem> items;
    items.push_back(std::move(item));
    auto result = collection.Upsert(std::move(items), {});
    return ReasonOf(result.ok() ? result->items[0].status : result.status());
  }

  TempDir dir_;
  std::unique_ptr<Database> database_;
  std::unique_ptr<Reembedding> reembedding_;
};

TEST_F(ReembedTest, TheTargetTakesTheNameAndTheSettings) {
  ASSERT_EQ(Put(*Get(), "a"), "");
  ASSERT_EQ(Begin(), "");
  EXPECT_EQ(database_->ListCollections().size(), 1u);
  ASSERT_EQ(Put(reembedding_->target(), "a", 7), "");
  EXPECT_EQ((*reembedding_->target().Get(std::vector<std::string>{"a"}, false))[0]->source_version,
            7u);
  const std::shared_ptr<Collection> before = Get();
  ASSERT_TRUE(reembedding_->CutOver().ok());
  EXPECT_EQ(Get()->options().dimension, 3);
  EXPECT_EQ(Get()->options().name, "c");
  EXPECT_EQ(Get()->options().model_id, "new@2");
  EXPECT_EQ(Get()->options().quota.max_images, 100u);
  EXPECT_EQ(database_->ListCollections().size(), 1u);
  // Who held the old one reads on, but writes no more.
  EXPECT_EQ(before->Count("")->count, 1u);
  EXPECT_EQ(Put(*before, "b"), "MOVED");
  EXPECT_EQ(before->Count("")->count, 1u);
  EXPECT_EQ(Put(*Get(), "b"), "");
  Open();
  EXPECT_EQ(Get()->options().model_fingerprint, "new");
  EXPECT_EQ(Get()->Count("")->count, 2u);
  ASSERT_EQ(database_->ListReembeds().size(), 1u);
  EXPECT_FALSE(database_->ListReembeds()[0].is_building);
}

// Its codes would divide the new model's vectors into no whole number of parts.
TEST_F(ReembedTest, ProductQuantisedCodesFitTheNewDimension) {
  CollectionOptions options;
  options.name = "pq";
  options.dimension = 8;
  options.model_id = "old@1";
  options.model_fingerprint = "old";
  options.index.kind = IndexKind::kIvf;
  options.index.pq_bytes = 4;
  ASSERT_TRUE(database_->CreateCollection(options).ok());
  auto begun = database_->BeginReembed("pq", {6, "new@2", "new"});
  ASSERT_TRUE(begun.ok()) << begun.status();
  ASSERT_EQ(Put((*begun)->target(), "a"), "");
  ASSERT_TRUE((*begun)->CutOver().ok());
  begun->reset();
  EXPECT_EQ((*database_->GetCollection("pq"))->options().index.pq_bytes, 3);
}

TEST_F(ReembedTest, ChangesOfTheSourceAreToldAndBlockTheSwitch) {
  ASSERT_EQ(Put(*Get(), "a"), "");
  ASSERT_EQ(Begin(), "");
  EXPECT_THAT(reembedding_->TakeChanged(), Optional(UnorderedElementsAre()));
  ASSERT_EQ(Put(*Get(), "b"), "");
  ASSERT_TRUE(Get()->Delete(std::vector<std::string>{"a"}).ok());
  EXPECT_EQ(ReasonOf(reembedding_->CutOver().status()), "SOURCE_CHANGED");
  EXPECT_EQ(Get()->options().model_fingerprint, "old");
  EXPECT_THAT(reembedding_->TakeChanged(), Optional(UnorderedElementsAre("a", "b")));
  EXPECT_TRUE(reembedding_->CutOver().ok());
}

TEST_F(ReembedTest, HeldWritersGoOnAfterTheRelease) {
  ASSERT_EQ(Begin(), "");
  reembedding_->HoldWrites(absl::Now() + absl::Seconds(20));
  std::atomic<bool> written{false};
  std::thread writer([&] {
    EXPECT_EQ(Put(*Get(), "a"), "");
    written = true;
  });
  absl::SleepFor(absl::Milliseconds(50));
  EXPECT_FALSE(written);
  EXPECT_EQ(Get()->Count("")->count, 0u);  // readers are not held
  reembedding_->ReleaseWrites();
  writer.join();
  EXPECT_TRUE(written);
}

TEST_F(ReembedTest, AHoldEndsByItself) {
  ASSERT_EQ(Begin(), "");
  reembedding_->HoldWrites(absl::Now() + absl::Milliseconds(30));
  EXPECT_EQ(Put(*Get(), "a"), "");
}

TEST_F(ReembedTest, WritersHeldOverTheSwitchAreToldToSendAgain) {
  ASSERT_EQ(Begin(), "");
  reembedding_->HoldWrites(absl::Now() + absl::Seconds(20));
  const std::shared_ptr<Collection> before = Get();
  std::thread writer([&] { EXPECT_EQ(Put(*before, "a"), "MOVED"); });
  absl::SleepFor(absl::Milliseconds(20));
  ASSERT_TRUE(reembedding_->CutOver().ok());
  writer.join();
}

TEST_F(ReembedTest, WhatWasFilledSurvivesARestartAndCanBeDropped) {
  ASSERT_EQ(Begin(), "");
  ASSERT_EQ(Put(reembedding_->target(), "a", 1), "");
  Open();
  EXPECT_EQ(database_->ListCollections().size(), 1u);
  ASSERT_EQ(database_->ListReembeds().size(), 1u);
  EXPECT_TRUE(database_->ListReembeds()[0].is_building);
  EXPECT_EQ(Begin("third"), "REEMBED_RUNNING");
  ASSERT_EQ(Begin(), "");
  EXPECT_EQ(reembedding_->target().Count("")->count, 1u);
  ASSERT_TRUE(database_->AbandonReembed("c").ok());
  EXPECT_EQ(ReasonOf(reembedding_->CutOver().status()), "REEMBED_CANCELLED");
  EXPECT_TRUE(database_->ListReembeds().empty());
  EXPECT_TRUE(database_->AbandonReembed("c").ok());
  EXPECT_EQ(Begin("third"), "");
}

TEST_F(ReembedTest, RollBackReturnsToTheOldVectorsAndForward) {
  ASSERT_EQ(Put(*Get(), "a"), "");
  ASSERT_EQ(Begin(), "");
  ASSERT_EQ(Put(reembedding_->target(), "a", 1), "");
  ASSERT_TRUE(reembedding_->CutOver().ok());
  reembedding_.reset();
  EXPECT_EQ(Begin("third"), "PREVIOUS_KEPT");
  ASSERT_TRUE(database_->RollBackReembed("c", false).ok());
  EXPECT_EQ(Get()->options().model_fingerprint, "old");
  EXPECT_EQ(Put(*Get(), "b"), "");
  Open();
  EXPECT_EQ(Get()->options().model_fingerprint, "old");
  EXPECT_EQ(Get()->Count("")->count, 2u);
  EXPECT_EQ(ReasonOf(database_->RollBackReembed("c", false).status()), "WRITTEN_SINCE");
  ASSERT_TRUE(database_->RollBackReembed("c", true).ok());
  EXPECT_EQ(Get()->options().model_fingerprint, "new");
  EXPECT_EQ(Get()->Count("")->count, 1u);
  ASSERT_TRUE(database_->FinishReembed("c").ok());
  EXPECT_EQ(ReasonOf(database_->FinishReembed("c").status()), "NOTHING_KEPT");
  EXPECT_EQ(ReasonOf(database_->RollBackReembed("c", true).status()), "NOTHING_KEPT");
}

TEST_F(ReembedTest, DeletingTheCollectionDropsWhatIsBesideIt) {
  ASSERT_EQ(Begin(), "");
  ASSERT_TRUE(database_->DeleteCollection("c").ok());
  EXPECT_TRUE(database_->ListReembeds().empty());
  EXPECT_EQ(ReasonOf(reembedding_->CutOver().status()), "NO_SUCH_COLLECTION");
  Open();
  EXPECT_TRUE(database_->ListReembeds().empty());
  EXPECT_TRUE(database_->ListCollections().empty());
}

TEST_F(ReembedTest, TheSameModelAndUnknownNamesAreRefused) {
  EXPECT_EQ(Begin("old"), "SAME_MODEL");
  EXPECT_EQ(ReasonOf(database_->BeginReembed("nothing", {3, "n@1", "n"}).status()),
            "NO_SUCH_COLLECTION");
}

// The name of the one beside must not let callers reach it.
TEST_F(ReembedTest, WhatIsBesideHasNoNameThatCallersCanUse) {
  ASSERT_EQ(Begin(), "");
  const std::string hidden = reembedding_->target().options().name;
  EXPECT_EQ(ReasonOf(database_->GetCollection(hidden).status()), "NO_SUCH_COLLECTION");
}

TEST_F(ReembedTest, AListGoesOnOverTheSwitch) {
  for (const char* id : {"a", "b", "c", "d"}) ASSERT_EQ(Put(*Get(), id), "");
  ListOptions list;
  list.page_size = 2;
  auto first = Get()->List(list);
  ASSERT_TRUE(first.ok());
  ASSERT_EQ(Begin(), "");
  for (const char* id : {"a", "b", "c", "d"}) ASSERT_EQ(Put(reembedding_->target(), id, 1), "");
  ASSERT_TRUE(reembedding_->CutOver().ok());
  list.page_token = first->next_page_token;
  auto second = Get()->List(list);
  ASSERT_TRUE(second.ok()) << second.status();
  ASSERT_EQ(second->records.size(), 2u);
  EXPECT_EQ(second->records[0].id, "c");
  EXPECT_EQ(second->records[0].vector.size(), 3u);
  Open();
  EXPECT_TRUE(Get()->List(list).ok());
}

}  // namespace
}  // namespace imagesearch::index
