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
