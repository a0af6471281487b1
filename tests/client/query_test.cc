// Mixed query arguments.
#include "client/command/query.h"

#include <filesystem>

#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/temp_folder.h"

namespace imagesearch::client {
namespace {

using Kind = QueryTerm::Kind;
using Terms = std::vector<QueryTerm>;

TEST(ParseQueryTest, WordsThatFollowEachOtherAreOneText) {
  EXPECT_EQ(*ParseQuery({"a", "red", "bicycle"}), (Terms{{Kind::kText, "a red bicycle", 1}}));
}

TEST(ParseQueryTest, SignsAndWeightsMakeTerms) {
  EXPECT_EQ(*ParseQuery({"2:golden retriever", "+", "./pool.jpg", "-", "fruit"}),
            (Terms{{Kind::kText, "golden retriever", 2},
                   {Kind::kImageFile, "./pool.jpg", 1},
                   {Kind::kText, "fruit", -1}}));
  EXPECT_EQ(*ParseQuery({"-", "0.5:id:abc"}), (Terms{{Kind::kId, "abc", -0.5f}}));
}

TEST(ParseQueryTest, AnExistingPictureNeedsNoDotSlash) {
  TempFolder folder;
  folder.Write("dog.jpg", "x");
  const auto before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  EXPECT_EQ(*ParseQuery({"dog.jpg"}), (Terms{{Kind::kImageFile, "dog.jpg", 1}}));
  EXPECT_EQ(*ParseQuery({"cat.jpg"}), (Terms{{Kind::kText, "cat.jpg", 1}}));
  std::filesystem::current_path(before);
}

TEST(ParseQueryTest, APictureMayEndInTheBoxOfAPart) {
  QueryTerm part{Kind::kImageFile, "./pool.jpg", 0.5f};
  part.crop = {0.25f, 0, 0.5f, 1};
  EXPECT_EQ(*ParseQuery({"0.5:./pool.jpg#0.25,0,0.5,1"}), Terms{part});
  EXPECT_EQ(DescribeQuery({part}), "pool.jpg#0.25,0,0.5,1 x0.5");
  EXPECT_EQ(*ParseQuery({"./c#1.jpg"}), (Terms{{Kind::kImageFile, "./c#1.jpg", 1}}));
  EXPECT_EQ(*ParseQuery({"team#1,2,3,4"}), (Terms{{Kind::kText, "team#1,2,3,4", 1}}));
  TempFolder folder;
  folder.Write("odd#0,0,1,1", "x");
  const std::string path = folder.path() + "/odd#0,0,1,1";
  EXPECT_EQ(*ParseQuery({path}), (Terms{{Kind::kImageFile, path, 1}}));
}

TEST(ParseQueryTest, AColonWithoutANumberIsText) {
  EXPECT_EQ(*ParseQuery({"Star Wars: a poster"}), (Terms{{Kind::kText, "Star Wars: a poster", 1}}));
  EXPECT_EQ(*ParseQuery({":smile:"}), (Terms{{Kind::kText, ":smile:", 1}}));
}

TEST(ParseQueryTest, WhatCannotBeAQueryIsRefused) {
  for (const std::vector<std::string>& bad : std::vector<std::vector<std::string>>{
           {"dog", "+"}, {"+", "-", "dog"}, {"0:dog"}, {"101:dog"}, {"2:"}, {"id:"}}) {
    EXPECT_EQ(ReasonOf(ParseQuery(bad).status()), "BAD_QUERY") << testing::PrintToString(bad);
  }
}

TEST(DescribeQueryTest, ReadsLikeTheArguments) {
  EXPECT_EQ(
      DescribeQuery(
          {{Kind::kText, "dog", 2}, {Kind::kImageFile, "a/b.jpg", 1}, {Kind::kText, "fruit", -1}}),
      "\"dog\" x2 + b.jpg - \"fruit\"");
}

}  // namespace
}  // namespace imagesearch::client
