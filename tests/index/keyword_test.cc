// Words, the inverted index, BM25.
#include <cmath>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "index/filter/field_path.h"
#include "index/keyword/keyword_index.h"
#include "index/keyword/words.h"

namespace imagesearch::index {
namespace {

using google::protobuf::Struct;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

Struct Fields(const std::vector<std::pair<std::string, std::string>>& fields) {
  Struct metadata;
  for (const auto& [key, text] : fields) (*metadata.mutable_fields())[key].set_string_value(text);
  return metadata;
}

std::vector<uint32_t> Slots(const KeywordIndex& index, const std::string& text,
                            const std::vector<std::string>& fields = {}) {
  std::vector<FieldPath> paths;
  for (const std::string& field : fields) paths.push_back(*ParseFieldPath(field));
  std::vector<uint32_t> slots;
  for (const KeywordMatch& match : index.Search(text, paths, nullptr, 100)) {
    slots.push_back(match.slot);
  }
  return slots;
}

TEST(WordsTest, WordsAreSplitByUnicodeAndFolded) {
  EXPECT_THAT(WordsOf("Two RED bicycles, 2024!", 99),
              ElementsAre("two", "red", "bicycles", "2024"));
  EXPECT_THAT(WordsOf("IMG_0123.jpg", 99), ElementsAre("img", "0123", "jpg"));
  EXPECT_THAT(WordsOf("Straße ÉCOLE Ａ", 99), ElementsAre("strasse", "école", "a"));
  EXPECT_THAT(WordsOf("e\u0301cole", 99), ElementsAre("école"));
  EXPECT_GE(WordsOf("東京の写真", 99).size(), 2u);  // no blanks between words
  EXPECT_THAT(WordsOf(" .,-* \n", 99), IsEmpty());
  EXPECT_THAT(WordsOf("\xff\xfe", 99), IsEmpty());
  EXPECT_THAT(WordsOf("a b c", 2), ElementsAre("a", "b"));
  EXPECT_EQ(WordsOf(std::string(500, 'x'), 9)[0].size(), kMaxWordBytes);
}

TEST(KeywordIndexTest, ScoresAreBm25) {
  KeywordIndex index;
  index.Add(1, Fields({{"title", "red boat"}}));
  index.Add(2, Fields({{"title", "red red boat on the blue sea"}}));
  index.Add(3, Fields({{"title", "green"}}));
  const auto matches = index.Search("RED sea red", {}, nullptr, 10);
  ASSERT_EQ(matches.size(), 2u);
  const double mean = (2 + 7 + 1) / 3.0;
  const auto score = [&](double n, double tf, double length) {
    return std::log(1 + (3 - n + 0.5) / (n + 0.5)) * tf * 2.2 /
           (tf + 1.2 * (0.25 + 0.75 * length / mean));
  };
  EXPECT_EQ(matches[0].slot, 2u);
  EXPECT_NEAR(matches[0].score, score(2, 2, 7) + score(1, 1, 7), 1e-5);
  EXPECT_EQ(matches[1].slot, 1u);
  EXPECT_NEAR(matches[1].score, score(2, 1, 2), 1e-5);
}

TEST(KeywordIndexTest, FieldsListsAndNestedStructsCanBeChosen) {
  KeywordIndex index;
  Struct metadata = Fields({{"title", "boat"}, {"note", "holiday"}});
  auto* tags = (*metadata.mutable_fields())["tags"].mutable_list_value();
  tags->add_values()->set_string_value("Sea");
  tags->add_values()->set_number_value(7);
  *(*metadata.mutable_fields())["camera"].mutable_struct_value() = Fields({{"model", "Box 7"}});
  index.Add(5, metadata);
  index.Add(6, Fields({{"title", "sea"}}));
  EXPECT_THAT(Slots(index, "boat"), ElementsAre(5));
  EXPECT_THAT(Slots(index, "box", {"camera.model"}), ElementsAre(5));
  EXPECT_THAT(Slots(index, "box", {"title"}), IsEmpty());
  EXPECT_THAT(Slots(index, "sea", {"tags"}), ElementsAre(5));
  EXPECT_THAT(Slots(index, "sea", {"title", "tags", "missing"}), ElementsAre(6, 5));
}

TEST(KeywordIndexTest, RemoveLeavesNothingBehind) {
  KeywordIndex index;
  const uint64_t empty = index.memory_bytes();
  const Struct a = Fields({{"title", "red boat"}, {"note", "red"}});
  const Struct b = Fields({{"title", "red"}});
  index.Add(1, a);
  index.Add(2, b);
  EXPECT_GT(index.memory_bytes(), empty);
  index.Remove(1, a);
  EXPECT_THAT(Slots(index, "red boat"), ElementsAre(2));
  index.Remove(1, a);  // once more changes nothing
  index.Remove(2, b);
  EXPECT_THAT(Slots(index, "red boat"), IsEmpty());
  EXPECT_EQ(index.memory_bytes(), empty);
}

TEST(KeywordIndexTest, WhatAWriteTouchedIsNotFilledOver) {
  KeywordIndex index;
  const Struct old = Fields({{"title", "old"}});
  const Struct fresh = Fields({{"title", "fresh"}});
  index.Fill(1, old);
  for (const uint32_t slot : {1u, 2u}) {  // filled before, and after
    index.Remove(slot, old);
    index.Add(slot, fresh);
  }
  index.Remove(3, old);
  index.Fill(2, old);
  index.Fill(3, old);
  index.Fill(4, old);
  index.FinishFill();
  EXPECT_THAT(Slots(index, "old"), ElementsAre(4));
  EXPECT_THAT(Slots(index, "fresh"), ElementsAre(1, 2));
}

TEST(KeywordIndexTest, AnImageOfManyWordsIsBounded) {
  KeywordIndex index;
  std::string text;
  for (int i = 0; i < 3000; ++i) text += "w" + std::to_string(i) + " ";
  index.Add(1, Fields({{"a", text}, {"b", "late"}}));
  EXPECT_THAT(Slots(index, "w511"), ElementsAre(1));
  EXPECT_THAT(Slots(index, "w512"), IsEmpty());
  EXPECT_THAT(Slots(index, "late"), IsEmpty());
}

TEST(KeywordIndexTest, OnlyAllowedSlotsAndTheBestOfThem) {
  KeywordIndex index;
  for (uint32_t slot = 0; slot < 50; ++slot) index.Add(slot, Fields({{"t", "word"}}));
  const auto even = [](uint32_t slot) { return slot % 2 == 0; };
  const auto matches = index.Search("word", {}, even, 3);
  ASSERT_EQ(matches.size(), 3u);
  EXPECT_EQ(matches[0].slot, 0u);
  EXPECT_EQ(matches[1].slot, 2u);
  EXPECT_EQ(matches[2].slot, 4u);
}

}  // namespace
}  // namespace imagesearch::index
