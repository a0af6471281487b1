// Multi-index hashing against a scan; duplicates at upload and in a report; kept originals.
#include <algorithm>
#include <random>
#include <set>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "index/store/multi_index_hash.h"
#include "tests/index/embedded_fixture.h"

namespace imagesearch::index {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;

// `bits` of them, from the lowest on, turned over.
uint64_t Flip(uint64_t code, int bits) { return bits == 0 ? code : code ^ (~0ull >> (64 - bits)); }

TEST(MultiIndexHashTest, FindsExactlyWhatAScanFinds) {
  std::mt19937_64 random(7);
  MultiIndexHash index;
  std::vector<uint64_t> codes;
  for (uint32_t i = 0; i < 20'000; ++i) {
    // Half of them near others, so that there is something to find.
    uint64_t code = random();
    if (i % 2 == 1) {
      code = codes[i / 2];
      for (int b = 0; b < static_cast<int>(i % 16); ++b) code ^= 1ull << (random() % 64);
    }
    codes.push_back(code);
    index.Add(i, code);
  }
  std::set<uint32_t> removed;
  for (uint32_t i = 0; i < 12'000; i += 3) {
    index.Remove(i, codes[i]);
    removed.insert(i);
  }
  EXPECT_EQ(index.size(), codes.size() - removed.size());
  size_t found_in_all = 0;
  for (int radius : {0, 3, 6, 11, 12, 15}) {
    for (uint32_t q = 0; q < 40; ++q) {
      const uint64_t query = codes[q * 301];
      std::set<std::pair<uint32_t, int>> found, expected;
      index.Find(query, radius, [&](uint32_t key, int distance) {
        EXPECT_TRUE(found.emplace(key, distance).second) << "twice";
        return true;
      });
      for (uint32_t i = 0; i < codes.size(); ++i) {
        const int distance = HammingDistance(codes[i], query);
        if (distance <= radius && !removed.contains(i)) expected.emplace(i, distance);
      }
      EXPECT_EQ(found, expected) << radius;
      found_in_all += found.size();
    }
  }
  EXPECT_GT(found_in_all, 300u);  // each query finds itself; more are found
}

TEST(MultiIndexHashTest, ARemovalOfAllLeavesNothing) {
  MultiIndexHash index;
  for (uint32_t i = 0; i < 10'000; ++i) index.Add(i, i * 0x9e3779b97f4a7c15);
  for (uint32_t i = 0; i < 10'000; ++i) index.Remove(i, i * 0x9e3779b97f4a7c15);
  EXPECT_EQ(index.size(), 0u);
  index.Find(0, 15, [](uint32_t, int) {
    ADD_FAILURE();
    return true;
  });
}

class DuplicatesTest : public EmbeddedFixture {
 protected:
  static constexpr uint64_t kHash = 0x0123456789abcdef;

  static UpsertItem Picture(std::string id, std::vector<float> vector, std::string content,
                            std::optional<uint64_t> hash = std::nullopt) {
    UpsertItem item = Item(std::move(id), std::move(vector));
    item.content_hash = std::move(content);
    item.content_hash.resize(64, '0');
    item.perceptual_hash = hash;
    return item;
  }
  static UpsertOptions On(OnDuplicate on_duplicate, DuplicateTier tier) {
    UpsertOptions options;
    options.on_duplicate = on_duplicate;
    options.tier = tier;
    return options;
  }
  static std::vector<std::string> Ids(const std::vector<DuplicateRef>& refs) {
    std::vector<std::string> ids;
    for (const DuplicateRef& ref : refs) {
      ids.push_back(absl::StrCat(ref.id, ":", static_cast<int>(ref.tier)));
    }
    return ids;
  }

  // The report as lists of "id:tier".
  class Groups : public DuplicatesVisitor {
   public:
    absl::Status OnProgress(uint64_t, uint64_t) override { return absl::OkStatus(); }
    absl::Status OnGroup(DuplicateGroup group) override {
      EXPECT_EQ(group.size, group.images.size());
      groups.push_back(Ids(group.images));
      return absl::OkStatus();
    }
    std::vector<std::vector<std::string>> groups;
  };
  std::vector<std::vector<std::string>> Report(DuplicateTier tier, const std::string& filter = "") {
    DuplicatesQuery query;
    query.tier = tier;
    query.filter = filter;
    Groups visitor;
    auto summary = collection_->FindDuplicates(query, &visitor);
    EXPECT_TRUE(summary.ok()) << summary.status();
    if (summary.ok()) {
      EXPECT_EQ(summary->groups, visitor.groups.size());
    }
    return visitor.groups;
  }
};

TEST_F(DuplicatesTest, EachTierTakesInTheOnesBefore) {
  Open();
  Upsert({Picture("stored", {1, 0, 0, 0}, "aa", kHash)});
  const std::vector<float> far = {0, 0, 0, 1}, near = {1, 0.05f, 0, 0}, aside = {1, 1, 0, 0};
  struct Case {
    UpsertItem item;
    int tier;  // the first that finds it; 9: none
  };
  const std::vector<Case> cases = {
      {Picture("x", far, "aa"), 1},
      {Picture("x", far, "bb", Flip(kHash, kSurePictureBits)), 2},
      {Picture("x", aside, "bb", Flip(kHash, kSamePictureBits)), 2},
      {Picture("x", far, "bb", Flip(kHash, kSamePictureBits)), 9},
      {Picture("x", aside, "bb", Flip(kHash, kSamePictureBits + 1)), 9},
      {Picture("x", near, "bb", ~kHash), 3},
      {Picture("x", near, "bb"), 3},
      {Item("x", aside), 9},
  };
  for (size_t i = 0; i < cases.size(); ++i) {
    for (int tier = 1; tier <= 3; ++tier) {
      const UpsertResult result =
          Upsert({cases[i].item}, On(OnDuplicate::kSkip, static_cast<DuplicateTier>(tier)));
      const bool expected = cases[i].tier <= tier;
      EXPECT_EQ(result.items[0].skipped, expected) << i << " " << tier;
      if (expected) {
        EXPECT_THAT(Ids(result.items[0].duplicates),
                    ElementsAre(absl::StrCat("stored:", cases[i].tier)));
        EXPECT_FALSE(Get("x").has_value());
        EXPECT_EQ(result.version, 0u);
      }
      ASSERT_TRUE(collection_->Delete(std::vector<std::string>{"x"}).ok());
    }
  }
}

TEST_F(DuplicatesTest, KeepDoesNotLookAndReportStoresAllTheSame) {
  Open();
  Upsert({Picture("a", {1, 0, 0, 0}, "aa", kHash)});
  EXPECT_THAT(Upsert({Picture("b", {1, 0, 0, 0}, "aa", kHash)}).items[0].duplicates, IsEmpty());
  const UpsertResult result = Upsert({Picture("c", {1, 0, 0, 0}, "aa", kHash)},
                                     On(OnDuplicate::kReport, DuplicateTier::kSamePicture));
  EXPECT_THAT(Ids(result.items[0].duplicates), ElementsAre("a:1", "b:1"));
  EXPECT_TRUE(result.items[0].created);
  EXPECT_EQ(Count(), 3u);
}

TEST_F(DuplicatesTest, OnesWithinABatchAreFoundToo) {
  Open();
  const UpsertResult result =
      Upsert({Picture("a", {1, 0, 0, 0}, "aa", kHash), Picture("b", {0, 1, 0, 0}, "bb", ~kHash),
              Picture("c", {0, 0, 1, 0}, "aa"), Picture("d", {0, 0, 0, 1}, "dd", kHash)},
             On(OnDuplicate::kSkip, DuplicateTier::kSamePicture));
  EXPECT_FALSE(result.items[0].skipped);
  EXPECT_FALSE(result.items[1].skipped);
  EXPECT_THAT(Ids(result.items[2].duplicates), ElementsAre("a:1"));
  EXPECT_THAT(Ids(result.items[3].duplicates), ElementsAre("a:2"));
  EXPECT_EQ(Count(), 2u);
}

TEST_F(DuplicatesTest, AnImageIsNoDuplicateOfItselfNorOfWhatIsGone) {
  Open();
  const UpsertOptions skip = On(OnDuplicate::kSkip, DuplicateTier::kLookAlike);
  Upsert({Picture("a", {1, 0, 0, 0}, "aa", kHash)}, skip);
  EXPECT_FALSE(Upsert({Picture("a", {1, 0, 0, 0}, "aa", kHash)}, skip).items[0].skipped);
  // Replaced by another picture: what it was counts no more.
  Upsert({Picture("a", {0, 0, 0, 1}, "zz", ~kHash)});
  EXPECT_FALSE(Upsert({Picture("b", {1, 0, 0, 0}, "aa", kHash)}, skip).items[0].skipped);
  ASSERT_TRUE(collection_->Delete(std::vector<std::string>{"b"}).ok());
  EXPECT_FALSE(Upsert({Picture("c", {1, 0, 0, 0}, "aa", kHash)}, skip).items[0].skipped);
  UpsertItem expiring = Picture("d", {0, 1, 0, 0}, "dd", 1);
  expiring.expire_time = absl::FromUnixSeconds(1'700'000'010);
  Upsert({expiring});
  offset_ = absl::Seconds(20);
  EXPECT_FALSE(Upsert({Picture("e", {0, 1, 0, 0}, "dd", 1)}, skip).items[0].skipped);
}

TEST_F(DuplicatesTest, WhatIsKnownSurvivesAnOpenAndMetadataUpdates) {
  Open();
  Upsert({Picture("a", {1, 0, 0, 0}, "aa", kHash)});
  ASSERT_TRUE(
      collection_->UpdateMetadata(std::vector<std::string>{"a"}, FromJson(R"({"k":1})"), {}).ok());
  UpsertItem only_metadata;
  only_metadata.id = "a";
  only_metadata.metadata = FromJson(R"({"k":2})");
  Upsert({only_metadata});
  Close();
  Open();
  EXPECT_EQ(Get("a")->perceptual_hash, kHash);
  const UpsertResult result = Upsert({Picture("b", {1, 0, 0, 0}, "bb", Flip(kHash, 2))},
                                     On(OnDuplicate::kSkip, DuplicateTier::kSamePicture));
  EXPECT_THAT(Ids(result.items[0].duplicates), ElementsAre("a:2"));
}

TEST_F(DuplicatesTest, TheReportGroupsByTierAndKeepsToTheFilter) {
  Open();
  std::vector<UpsertItem> items = {Picture("a1", {1, 0, 0, 0}, "aa", kHash),
                                   Picture("b1", {0, 1, 0, 0}, "bb", ~kHash),
                                   Picture("a2", {1, 0, 0, 0}, "aa", kHash),
                                   Picture("a3", {1, 0.1f, 0, 0}, "cc", Flip(kHash, 4)),
                                   Picture("b2", {0, 1, 0.1f, 0}, "dd"),
                                   Picture("c1", {0, 0, 0, 1}, "ee", 0)};
  for (UpsertItem& item : items)
    item.metadata = FromJson(absl::StrCat("{\"n\":\"", item.id, "\"}"));
  Upsert(std::move(items));
  EXPECT_THAT(Report(DuplicateTier::kSameBytes), ElementsAre(ElementsAre("a1:0", "a2:1")));
  EXPECT_THAT(Report(DuplicateTier::kSamePicture),
              ElementsAre(ElementsAre("a1:0", "a2:1", "a3:2")));
  EXPECT_THAT(Report(DuplicateTier::kLookAlike),
              ElementsAre(ElementsAre("a1:0", "a2:1", "a3:2"), ElementsAre("b1:0", "b2:3")));
  EXPECT_THAT(Report(DuplicateTier::kLookAlike, R"(n != "a1")"),
              ElementsAre(ElementsAre("b1:0", "b2:3"), ElementsAre("a2:0", "a3:2")));
  ASSERT_TRUE(collection_->Optimize().ok());
  EXPECT_THAT(Report(DuplicateTier::kLookAlike),
              ElementsAre(ElementsAre("a1:0", "a2:1", "a3:2"), ElementsAre("b1:0", "b2:3")));
}

TEST_F(DuplicatesTest, ALargeGroupComesInParts) {
  Open();
  std::vector<UpsertItem> items;
  for (int i = 0; i < 2500; ++i) {
    items.push_back(Picture(absl::StrCat("i", i), {1, 0, 0, 0}, "aa", kHash));
  }
  Upsert(std::move(items));
  class Parts : public DuplicatesVisitor {
   public:
    absl::Status OnProgress(uint64_t, uint64_t) override { return absl::OkStatus(); }
    absl::Status OnGroup(DuplicateGroup group) override {
      EXPECT_EQ(group.number, 1u);
      EXPECT_EQ(group.size, 2500u);
      sizes.push_back(group.images.size());
      return absl::OkStatus();
    }
    std::vector<size_t> sizes;
  } parts;
  auto summary = collection_->FindDuplicates({}, &parts);
  ASSERT_TRUE(summary.ok()) << summary.status();
  EXPECT_EQ(summary->duplicates, 2499u);
  EXPECT_THAT(parts.sizes, ElementsAre(1000, 1000, 500));
}

TEST_F(DuplicatesTest, AVisitorThatHasEnoughEndsTheReport) {
  Open();
  Upsert({Picture("a", {1, 0, 0, 0}, "aa"), Picture("b", {1, 0, 0, 0}, "aa")});
  class Enough : public DuplicatesVisitor {
   public:
    absl::Status OnProgress(uint64_t, uint64_t) override { return absl::OkStatus(); }
    absl::Status OnGroup(DuplicateGroup) override { return absl::CancelledError("enough"); }
  } enough;
  EXPECT_TRUE(absl::IsCancelled(collection_->FindDuplicates({}, &enough).status()));
}

class OriginalsTest : public EmbeddedFixture {
 protected:
  void OpenKeeping() {
    CollectionOptions options;
    options.keep_originals = true;
    Open(options);
  }
  static UpsertItem WithOriginal(const std::string& id, const std::string& original) {
    UpsertItem item = Item(id, {1, 0, 0, 0});
    item.original = original;
    item.source_uri = "file:///" + id;
    return item;
  }
  // "-" where there is no such image.
  std::string OriginalOf(const std::string& id, uint64_t max_bytes = 1 << 20) {
    auto record = collection_->GetWithOriginal(id, /*with_vector=*/false, max_bytes);
    EXPECT_TRUE(record.ok()) << record.status();
    if (!record.ok()) return "?";
    return *record ? (*record)->original : "-";
  }
  uint64_t Bytes() { return collection_->Info().original_bytes; }
};

TEST_F(OriginalsTest, AreKeptCountedAndGoWithTheirImage) {
  OpenKeeping();
  Upsert({WithOriginal("a", "AAAA"), WithOriginal("b", "BBBBBB"), Item("c", {0, 1, 0, 0})});
  EXPECT_EQ(OriginalOf("a"), "AAAA");
  EXPECT_EQ(OriginalOf("c"), "");
  EXPECT_EQ(OriginalOf("nobody"), "-");
  EXPECT_EQ(OriginalOf("b", 5), "");
  EXPECT_EQ(Get("b")->original_bytes, 6u);
  EXPECT_EQ(Get("a")->source_uri, "file:///a");
  EXPECT_EQ(Bytes(), 10u);
  // Metadata alone leave it; another picture takes its place; a vector takes it away.
  ASSERT_TRUE(
      collection_->UpdateMetadata(std::vector<std::string>{"a"}, FromJson(R"({"k":1})"), {}).ok());
  UpsertItem only_metadata;
  only_metadata.id = "a";
  Upsert({only_metadata});
  EXPECT_EQ(OriginalOf("a"), "AAAA");
  EXPECT_EQ(Get("a")->source_uri, "file:///a");
  Upsert({WithOriginal("a", "other")});
  EXPECT_EQ(OriginalOf("a"), "other");
  EXPECT_EQ(Bytes(), 11u);
  Close();
  OpenKeeping();
  EXPECT_TRUE(collection_->options().keep_originals);
  EXPECT_EQ(OriginalOf("a"), "other");
  EXPECT_EQ(Bytes(), 11u);
  Upsert({Item("a", {0, 0, 1, 0})});
  EXPECT_EQ(OriginalOf("a"), "");
  EXPECT_EQ(Bytes(), 6u);
  ASSERT_TRUE(collection_->Delete(std::vector<std::string>{"b"}).ok());
  EXPECT_EQ(Bytes(), 0u);
  // No bytes of it come back with the id.
  Upsert({Item("b", {0, 0, 1, 0})});
  EXPECT_EQ(OriginalOf("b"), "");
}

TEST_F(OriginalsTest, ACollectionThatKeepsNoneStoresNone) {
  Open();
  Upsert({WithOriginal("a", "AAAA")});
  EXPECT_EQ(OriginalOf("a"), "");
  EXPECT_EQ(Get("a")->original_bytes, 0u);
  EXPECT_EQ(Bytes(), 0u);
}

TEST_F(OriginalsTest, OneWriteOfAnIdTwiceKeepsTheLast) {
  OpenKeeping();
  Upsert({WithOriginal("a", "first"), WithOriginal("a", "second")});
  EXPECT_EQ(OriginalOf("a"), "second");
  EXPECT_EQ(Bytes(), 6u);
}

}  // namespace
}  // namespace imagesearch::index
