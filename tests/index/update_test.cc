// Merge patches: RFC 7396 itself, and what a collection promises of them.
#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "google/protobuf/util/message_differencer.h"
#include "index/store/merge_patch.h"
#include "tests/index/embedded_fixture.h"

namespace imagesearch::index {
namespace {

using ::testing::HasSubstr;

TEST(MergePatchTest, TheExamplesOfTheRfcThatAreObjects) {
  struct Case {
    const char *target, *patch, *result;
  };
  // RFC 7396, appendix A, but for the rows whose document or patch is no object.
  for (const Case& c :
       {Case{R"({"a":"b"})", R"({"a":"c"})", R"({"a":"c"})"},
        Case{R"({"a":"b"})", R"({"b":"c"})", R"({"a":"b","b":"c"})"},
        Case{R"({"a":"b"})", R"({"a":null})", R"({})"},
        Case{R"({"a":"b","b":"c"})", R"({"a":null})", R"({"b":"c"})"},
        Case{R"({"a":["b"]})", R"({"a":"c"})", R"({"a":"c"})"},
        Case{R"({"a":"c"})", R"({"a":["b"]})", R"({"a":["b"]})"},
        Case{R"({"a":{"b":"c"}})", R"({"a":{"b":"d","c":null}})", R"({"a":{"b":"d"}})"},
        Case{R"({"a":[{"b":"c"}]})", R"({"a":[1]})", R"({"a":[1]})"},
        Case{R"({"e":null})", R"({"a":1})", R"({"e":null,"a":1})"},
        Case{R"({})", R"({"a":{"bb":{"ccc":null}}})", R"({"a":{"bb":{}}})"},
        Case{R"({"a":"b"})", R"({"a":{"c":null}})", R"({"a":{}})"}}) {
    google::protobuf::Struct target = FromJson(c.target);
    MergePatch(FromJson(c.patch), &target);
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(target, FromJson(c.result)))
        << c.target << " + " << c.patch << " = " << target.ShortDebugString();
  }
}

class UpdateTest : public EmbeddedFixture {
 protected:
  absl::StatusOr<UpdateResult> Update(std::vector<std::string> ids, const std::string& patch,
                                      const UpdateOptions& options = {}) {
    return collection_->UpdateMetadata(ids, FromJson(patch), options);
  }
};

TEST_F(UpdateTest, KeepsVectorExpiryAndContentAndIsFoundByFilters) {
  Open();
  UpsertItem item = Item("a", {1, 0, 0, 0}, R"({"year":2020,"draft":true})");
  item.expire_time = absl::FromUnixSeconds(1'700'000'100);
  item.content_hash = "abc";
  Upsert({item, Item("b", {0, 1, 0, 0}, R"({"year":2021})")});
  const uint64_t before = Get("a")->version;
  auto result = Update({"a", "nobody", "a"}, R"({"year":2024,"draft":null})");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->matched, 1u);
  EXPECT_EQ(result->updated, 1u);
  ASSERT_EQ(result->items.size(), 3u);
  EXPECT_TRUE(result->items[0].ok());
  EXPECT_TRUE(absl::IsNotFound(result->items[1]));
  EXPECT_TRUE(result->items[2].ok());
  EXPECT_EQ(MetadataOf("a"), "{year:2024}");
  EXPECT_EQ(Get("a")->vector, (std::vector<float>{1, 0, 0, 0}));
  EXPECT_EQ(Get("a")->expire_time, absl::FromUnixSeconds(1'700'000'100));
  EXPECT_EQ(Get("a")->content_hash, "abc");
  EXPECT_GT(Get("a")->version, before);
  EXPECT_EQ(Count("year = 2024"), 1u);
  EXPECT_EQ(Count("year = 2020"), 0u);
  EXPECT_EQ(Count("draft = true"), 0u);
}

TEST_F(UpdateTest, SurvivesAnOpen) {
  Open();
  Upsert({Item("a", {1, 0, 0, 0}, R"({"k":1})")});
  ASSERT_TRUE(Update({"a"}, R"({"k":2,"nested":{"x":"y"}})").ok());
  Close();
  Open();
  EXPECT_EQ(MetadataOf("a"), R"({k:2,nested:{"x":"y"}})");
  EXPECT_EQ(Count("k = 2"), 1u);
}

TEST_F(UpdateTest, WhatChangesNothingIsNotWritten) {
  Open();
  Upsert({Item("a", {1, 0, 0, 0}, R"({"k":1})")});
  const uint64_t version = database_->version();
  auto result = Update({"a"}, R"({"k":1,"gone":null})");
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->matched, 1u);
  EXPECT_EQ(result->updated, 0u);
  EXPECT_EQ(database_->version(), version);
}

TEST_F(UpdateTest, ARefusedResultLeavesTheWholeBatchAsItWas) {
  Open();
  Upsert({Item("a", {1, 0, 0, 0}, R"({"k":1})"), Item("b", {0, 1, 0, 0}, R"({"k":2,"big":1})")});
  UpdateOptions options;
  options.check = [](const google::protobuf::Struct& metadata) {
    return metadata.fields().contains("big") ? InvalidArgument("METADATA_TOO_LARGE", "too big")
                                             : absl::OkStatus();
  };
  auto result = Update({"a", "b"}, R"({"k":7})", options);
  EXPECT_EQ(ReasonOf(result.status()), "METADATA_TOO_LARGE");
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("'b'"));
  EXPECT_EQ(MetadataOf("a"), "{k:1}");
}

TEST_F(UpdateTest, ByFilterReachesEverythingThatMatchesAcrossBatches) {
  Open();
  std::vector<UpsertItem> items;
  for (int i = 0; i < 1300; ++i) {
    items.push_back(Item(absl::StrCat("i", i), {1, static_cast<float>(i), 0, 0},
                         i % 13 == 0 ? R"({"album":"odd"})" : R"({"album":"sea"})"));
  }
  Upsert(std::move(items));
  auto result = collection_->UpdateMetadataByFilter(
      R"(album = "sea")", FromJson(R"({"album":"ocean","seen":true})"), {});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->matched, 1200u);
  EXPECT_EQ(result->updated, 1200u);
  EXPECT_EQ(Count(R"(album = "ocean" AND seen = true)"), 1200u);
  EXPECT_EQ(Count(R"(album = "odd")"), 100u);
  EXPECT_EQ(ReasonOf(collection_->UpdateMetadataByFilter("album =", FromJson("{}"), {}).status()),
            "BAD_FILTER");
}

TEST_F(UpdateTest, AnEndOfTimeBetweenBatchesTellsHowFarItCame) {
  Open();
  std::vector<UpsertItem> items;
  for (int i = 0; i < 600; ++i)
    items.push_back(Item(absl::StrCat("i", i), {1, 0, 0, 0}, R"({"k":1})"));
  Upsert(std::move(items));
  UpdateOptions options;
  int batches = 0;
  options.proceed = [&batches] {
    return ++batches == 1 ? absl::OkStatus() : absl::DeadlineExceededError("too late");
  };
  auto result = collection_->UpdateMetadataByFilter("k = 1", FromJson(R"({"k":2})"), options);
  EXPECT_TRUE(absl::IsDeadlineExceeded(result.status()));
  EXPECT_THAT(std::string(result.status().message()), HasSubstr("512 images were updated"));
  EXPECT_EQ(Count("k = 2"), 512u);
  ASSERT_TRUE(collection_->UpdateMetadataByFilter("k = 1", FromJson(R"({"k":2})"), {}).ok());
  EXPECT_EQ(Count("k = 2"), 600u);
}

TEST_F(UpdateTest, ConcurrentPatchesOfOneImageAllCount) {
  Open();
  Upsert({Item("a", {1, 0, 0, 0})});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([this, t] {
      for (int i = 0; i < 25; ++i) {
        EXPECT_TRUE(Update({"a"}, absl::StrCat("{\"k", t, "_", i, "\":true}")).ok());
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(Get("a")->metadata.fields_size(), 100);
}

TEST_F(UpdateTest, AnExpiredImageIsNotFound) {
  Open();
  UpsertItem item = Item("a", {1, 0, 0, 0});
  item.expire_time = absl::FromUnixSeconds(1'700'000'010);
  Upsert({item});
  offset_ = absl::Seconds(20);
  auto result = Update({"a"}, R"({"k":1})");
  ASSERT_TRUE(result.ok());
  EXPECT_TRUE(absl::IsNotFound(result->items[0]));
}

}  // namespace
}  // namespace imagesearch::index
