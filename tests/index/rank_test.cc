// Rankings over a real collection: groups, diversity.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/index/rank_fixture.h"

namespace imagesearch::index {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class GroupTest : public RankTest {
 protected:
  static UpsertItem InAlbum(const std::string& id, float score, const std::string& album) {
    return WithText(id, score, "album", album);
  }
};

TEST_F(GroupTest, GroupsComeByTheirBestHitWithAtMostSoManyEach) {
  Store({InAlbum("a1", 0.9f, "a"), InAlbum("a2", 0.8f, "a"), InAlbum("a3", 0.7f, "a"),
         InAlbum("b1", 0.85f, "b"), InAlbum("c1", 0.1f, "c"), InAlbum("none", 0.5f, "")});
  EXPECT_THAT(Ids(AskGroups("album", 1, 10)), ElementsAre("a1", "b1", "none", "c1"));
  EXPECT_THAT(Ids(AskGroups("album", 2, 10)), ElementsAre("a1", "a2", "b1", "none", "c1"));
  auto result = SearchRanked(*collection_, backgrounds_, AskGroups("album", 1, 3));
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->hits[0].group->string_value(), "a");
  EXPECT_TRUE(result->hits[2].group->has_null_value());
}

TEST_F(GroupTest, PagesOfGroupsNeitherOverlapNorLeaveGaps) {
  std::vector<UpsertItem> items;
  for (int i = 0; i < 60; ++i) {
    items.push_back(InAlbum(absl::StrCat("i", i), 0.9f - 0.01f * i, absl::StrCat("album ", i % 7)));
  }
  Store(std::move(items));
  const std::vector<std::string> all = Ids(AskGroups("album", 2, 100));
  ASSERT_EQ(all.size(), 14u);
  std::vector<std::string> paged;
  for (int offset = 0; offset < 9; offset += 3) {
    for (const std::string& id : Ids(AskGroups("album", 2, 3, offset))) paged.push_back(id);
  }
  EXPECT_EQ(paged, all);
  EXPECT_THAT(Ids(AskGroups("album", 2, 3, 7)), IsEmpty());
}

// 3,000 images of one album lie before the two others: more than the first looks hold.
TEST_F(GroupTest, ALargeGroupInFrontDoesNotHideTheOthers) {
  std::vector<UpsertItem> items;
  for (int i = 0; i < 3000; ++i) {
    items.push_back(InAlbum(absl::StrCat("big", i), 0.99f - 0.0001f * i, "big \"quoted\" *"));
  }
  items.push_back(InAlbum("small1", 0.2f, "small"));
  items.push_back(InAlbum("small2", 0.1f, "small"));
  items.push_back(InAlbum("alone", 0.15f, ""));
  Store(std::move(items));
  EXPECT_THAT(Ids(AskGroups("album", 2, 3)),
              ElementsAre("big0", "big1", "small1", "small2", "alone"));
}

// Deeper than a ranking looks: the others are found by leaving out the group that was met.
TEST_F(GroupTest, GroupsBeyondTheDeepestLookAreFoundByFilter) {
  std::vector<UpsertItem> items;
  for (int i = 0; i < kMaxDepth + 100; ++i) {
    UpsertItem item = Item(absl::StrCat("n", i), 0.99f - 0.00004f * i);
    Field(item, "year").set_number_value(i < kMaxDepth + 50 ? 2000.5 : 2001 + i % 2);
    items.push_back(std::move(item));
  }
  Store(std::move(items));
  EXPECT_THAT(Ids(AskGroups("year", 1, 3)), ElementsAre("n0", absl::StrCat("n", kMaxDepth + 50),
                                                        absl::StrCat("n", kMaxDepth + 51)));
}

TEST_F(GroupTest, ValuesOfAllTypesMakeGroups) {
  std::vector<UpsertItem> items;
  for (int i = 0; i < 8; ++i) items.push_back(Item(absl::StrCat("i", i), 0.9f - 0.1f * i));
  Field(items[0], "f").set_bool_value(true);
  Field(items[1], "f").set_bool_value(true);
  Field(items[2], "f").set_number_value(1);
  Field(items[3], "f").set_string_value("1");
  Field(items[4], "f").set_number_value(1);
  Field(items[5], "f").mutable_list_value()->add_values()->set_number_value(1);
  Field(items[6], "f").set_null_value(google::protobuf::NULL_VALUE);
  Store(std::move(items));
  EXPECT_THAT(Ids(AskGroups("f", 1, 10)), ElementsAre("i0", "i2", "i3", "i5"));
  EXPECT_THAT(Ids(AskGroups("id", 1, 2)), ElementsAre("i0", "i1"));
}

TEST_F(GroupTest, MetadataAndVectorsComeWhenAskedForAlone) {
  Store({InAlbum("a1", 0.9f, "a")});
  RankedQuery ranked = AskGroups("album", 1, 1);
  ranked.query.with_vector = true;
  auto result = SearchRanked(*collection_, backgrounds_, ranked);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->hits[0].hit.vector.size(), size_t{kDimension});
  ranked = Ask(1);
  ranked.diversity = 0.5f;
  ranked.query.with_metadata = true;
  result = SearchRanked(*collection_, backgrounds_, ranked);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->hits[0].hit.metadata.fields().at("album").string_value(), "a");
}

TEST_F(GroupTest, DiversityPutsADifferentImageBeforeANearCopy) {
  Store({Item("best", 0.9f, 1), Item("copy", 0.89f, 1), Item("copy2", 0.88f, 1),
         Item("other", 0.7f, 2), Item("far", 0.1f, 3)});
  RankedQuery ranked = Ask(5);
  EXPECT_THAT(Ids(ranked), ElementsAre("best", "copy", "copy2", "other", "far"));
  ranked.diversity = 0.4f;
  EXPECT_THAT(Ids(ranked), ElementsAre("best", "other", "copy", "copy2", "far"));
  ranked.query.limit = 2;
  EXPECT_THAT(Ids(ranked), ElementsAre("best", "other"));
  ranked.query.offset = 2;
  EXPECT_THAT(Ids(ranked), ElementsAre("copy", "copy2"));
}

TEST_F(GroupTest, DiversityIsMaximalMarginalRelevanceByItsDefinition) {
  // Against a direct evaluation of the formula in diversity.h.
  std::vector<UpsertItem> items;
  std::vector<std::vector<double>> vectors;
  for (int i = 0; i < 40; ++i) {
    UpsertItem item;
    item.id = absl::StrCat("v", 10 + i);
    item.vector.emplace();
    double norm = 0;
    for (int d = 0; d < kDimension; ++d) {
      item.vector->push_back(std::sin(1.7f * i + 2.3f * d * i + d) + (d == 0 ? 1.5f : 0.0f));
      norm += std::pow(item.vector->back(), 2);
    }
    for (float& value : *item.vector) value /= std::sqrt(norm);
    vectors.emplace_back(item.vector->begin(), item.vector->end());
    items.push_back(std::move(item));
  }
  Store(items);
  const auto dot = [&](int a, int b) {
    double sum = 0;
    for (int d = 0; d < kDimension; ++d) sum += vectors[a][d] * vectors[b][d];
    return sum;
  };
  std::vector<int> by_score(40);
  for (int i = 0; i < 40; ++i) by_score[i] = i;
  std::sort(by_score.begin(), by_score.end(),
            [&](int a, int b) { return vectors[a][0] > vectors[b][0]; });
  const int first = by_score[0];
  double least = 1;
  for (const int i : by_score) least = std::min(least, dot(first, i));
  const double high = vectors[first][0], low = vectors[by_score.back()][0];
  std::vector<std::string> expected = {items[first].id};
  std::vector<int> chosen = {first};
  while (chosen.size() < 40) {
    int next = -1;
    double best = 0;
    for (const int i : by_score) {
      if (std::count(chosen.begin(), chosen.end(), i) > 0) continue;
      double same = -1;
      for (const int c : chosen) same = std::max(same, dot(c, i));
      const double value =
          0.7 * (vectors[i][0] - low) / (high - low) - 0.3 * (same - least) / (1 - least);
      if (next < 0 || value > best + 1e-7) {
        next = i;
        best = value;
      }
    }
    chosen.push_back(next);
    expected.push_back(items[next].id);
  }
  RankedQuery ranked = Ask(40);
  ranked.diversity = 0.3f;
  EXPECT_EQ(Ids(ranked), expected);
}

TEST_F(GroupTest, DiversityAndGroupsGoTogether) {
  std::vector<UpsertItem> items = {Item("a1", 0.9f, 1), Item("a2", 0.89f, 1), Item("b1", 0.88f, 1),
                                   Item("c1", 0.7f, 2)};
  Field(items[0], "album").set_string_value("a");
  Field(items[1], "album").set_string_value("a");
  Field(items[2], "album").set_string_value("b");
  Field(items[3], "album").set_string_value("c");
  Store(std::move(items));
  RankedQuery ranked = AskGroups("album", 1, 3);
  ranked.diversity = 0.6f;
  EXPECT_THAT(Ids(ranked), ElementsAre("a1", "c1", "b1"));
}

TEST(FieldPathTest, NamesOfFieldsAreReadAsInFilters) {
  EXPECT_THAT(ParseFieldPath("camera.`the model`")->keys, ElementsAre("camera", "the model"));
  EXPECT_TRUE(ParseFieldPath("id")->is_id);
  for (const std::string& bad : {std::string(), std::string("a b"), std::string("a) OR has(b"),
                                 std::string("a."), std::string("\"a\""), std::string(257, 'x')}) {
    EXPECT_FALSE(ParseFieldPath(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace imagesearch::index
