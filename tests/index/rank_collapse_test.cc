// Duplicates folded in results: which hit stays, what stands under it, and pages over what is left.
#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "index/rank/collapse.h"
#include "index/rank/ranked_search.h"
#include "index/rank/relevance.h"
#include "tests/index/embedded_fixture.h"

namespace imagesearch::index {
namespace {

using ::testing::ElementsAre;

RankedHit MakeHit(const std::string& id, float score, std::vector<float> vector,
                  const std::string& content = "", std::optional<uint64_t> hash = std::nullopt) {
  RankedHit hit;
  hit.hit.id = id;
  hit.hit.score = score;
  hit.hit.vector = std::move(vector);
  hit.hit.content_hash = content;
  hit.hit.perceptual_hash = hash;
  hit.order = score;
  return hit;
}

std::vector<std::string> Folded(DuplicateTier tier, std::vector<RankedHit> hits) {
  Ranking ranking;
  ranking.hits = std::move(hits);
  EXPECT_TRUE(CollapsePass(tier).Run(&ranking).ok());
  std::vector<std::string> lines;
  for (const RankedHit& hit : ranking.hits) {
    std::string line = hit.hit.id;
    for (const DuplicateRef& folded : hit.duplicates) {
      absl::StrAppend(&line, " ", folded.id, ":", static_cast<int>(folded.tier));
    }
    lines.push_back(line);
  }
  return lines;
}

TEST(CollapseTest, TheBestHitStaysAndEachTierTakesInTheOnesBefore) {
  const std::vector<RankedHit> hits = {MakeHit("a", 0.9f, {1, 0}, "aa", 0xFF),
                                       MakeHit("b", 0.8f, {0, 1}, "bb", ~0ull),
                                       MakeHit("a bytes", 0.7f, {1, 0}, "aa", 0xFF),
                                       MakeHit("a picture", 0.6f, {0.8f, 0.6f}, "cc", 0xFE),
                                       MakeHit("b alike", 0.5f, {0.1f, 0.995f}),
                                       MakeHit("c", 0.4f, {0.7071f, 0.7071f})};
  EXPECT_THAT(Folded(DuplicateTier::kNone, hits),
              ElementsAre("a", "b", "a bytes", "a picture", "b alike", "c"));
  EXPECT_THAT(Folded(DuplicateTier::kSameBytes, hits),
              ElementsAre("a a bytes:1", "b", "a picture", "b alike", "c"));
  EXPECT_THAT(Folded(DuplicateTier::kSamePicture, hits),
              ElementsAre("a a bytes:1 a picture:2", "b", "b alike", "c"));
  EXPECT_THAT(Folded(DuplicateTier::kLookAlike, hits),
              ElementsAre("a a bytes:1 a picture:2", "b b alike:3", "c"));
}

TEST(CollapseTest, OnlyDuplicatesOfWhatStaysAreFolded) {
  // b is like a, c is like b but not like a.
  EXPECT_THAT(Folded(DuplicateTier::kSamePicture,
                     {MakeHit("a", 3, {1, 0}, "", 0), MakeHit("b", 2, {1, 0}, "", 0x3F),
                      MakeHit("c", 1, {1, 0}, "", 0xFFFFF)}),
              ElementsAre("a b:2", "c"));
}

class CollapsedSearchTest : public EmbeddedFixture {
 protected:
  RankedResult Search(int limit, int offset, DuplicateTier tier) {
    RankedQuery query;
    query.query.vector = {1, 0, 0, 0};
    query.query.limit = limit;
    query.query.offset = offset;
    query.query.with_metadata = true;
    query.collapse = tier;
    auto result = SearchRanked(*collection_, backgrounds_, query);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *std::move(result) : RankedResult{};
  }

  Backgrounds backgrounds_;
};

TEST_F(CollapsedSearchTest, PagesAreOfWhatIsLeftHoweverManyAreFolded) {
  Open();
  std::vector<UpsertItem> items;
  for (int i = 0; i < 40; ++i) {
    for (int copy = 0; copy < 20; ++copy) {
      UpsertItem item = Item(absl::StrCat("p", i, "/", copy),
                             {1, 0.02f * static_cast<float>(i), 0, 0}, R"({"k":1})");
      item.content_hash = absl::StrCat(absl::Hex(i + 1, absl::kZeroPad2), std::string(62, '0'));
      items.push_back(std::move(item));
    }
  }
  Upsert(std::move(items));
  std::vector<std::string> seen;
  for (int offset = 0; offset < 60; offset += 15) {
    for (const RankedHit& hit : Search(15, offset, DuplicateTier::kSameBytes).hits) {
      EXPECT_EQ(hit.duplicates.size(), 19u) << hit.hit.id;
      EXPECT_EQ(hit.hit.metadata.fields_size(), 1);
      seen.push_back(hit.hit.id.substr(0, hit.hit.id.find('/')));
    }
  }
  ASSERT_EQ(seen.size(), 40u);
  for (int i = 0; i < 40; ++i) EXPECT_EQ(seen[i], absl::StrCat("p", i));
  EXPECT_EQ(Search(1000, 0, DuplicateTier::kNone).hits.size(), 800u);
}

}  // namespace
}  // namespace imagesearch::index
