// The tokenizer on a small vocabulary of its own; the comparison with transformers over CLIP's is
// in tests/reference.
#include "encoder/text/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "base/error.h"
#include "encoder/text/unicode.h"

namespace imagesearch::encoder {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class TokenizerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    dir_ = ::testing::TempDir() + "tokenizer-" +
           ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
  }
  void TearDown() override { std::filesystem::remove_all(dir_); }

  void Write(const std::string& name, const std::string& text) {
    std::ofstream(dir_ + "/" + name, std::ios::binary) << text;
  }
  // Letters a to c, "ab" and "ab</w>", an apostrophe, a digit and CLIP's special tokens.
  void WriteVocabulary() {
    Write("vocab.json",
          R"({"a":0,"b":1,"c":2,"a</w>":3,"b</w>":4,"c</w>":5,"ab":6,"ab</w>":7,"abc</w>":8,
              "'":9,"s</w>":10,"'s</w>":11,"1</w>":12,"<|startoftext|>":13,"<|endoftext|>":14})");
    Write("merges.txt", "#version: 0.2\na b\na b</w>\nab c</w>\n' s</w>\n");
  }
  std::vector<int32_t> Ids(const std::string& text, int context = 77) {
    auto tokenizer = Tokenizer::Load(dir_, context);
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    if (!tokenizer.ok()) return {};
    auto tokens = (*tokenizer)->Encode(text);
    EXPECT_TRUE(tokens.ok()) << tokens.status();
    return tokens.ok() ? tokens->ids : std::vector<int32_t>();
  }
  absl::Status LoadError() { return Tokenizer::Load(dir_, 77).status(); }

  std::string dir_;
};

TEST_F(TokenizerTest, MergesTheLowestRankFirst) {
  WriteVocabulary();
  EXPECT_THAT(Ids("ab"), ElementsAre(13, 7, 14));
  EXPECT_THAT(Ids("abc"), ElementsAre(13, 8, 14));
  EXPECT_THAT(Ids("aab"), ElementsAre(13, 0, 7, 14));
  EXPECT_THAT(Ids("AB  ab\tb"), ElementsAre(13, 7, 7, 4, 14));
}

TEST_F(TokenizerTest, CutsContractionsAndSingleDigits) {
  WriteVocabulary();
  EXPECT_THAT(Ids("a's"), ElementsAre(13, 3, 11, 14));
  EXPECT_THAT(Ids("11"), ElementsAre(13, 12, 12, 14));
}

TEST_F(TokenizerTest, ByteSymbolsThatTheVocabularyLacksAreUnknown) {
  WriteVocabulary();
  EXPECT_THAT(Ids("\xC3\xA9"), ElementsAre(13, 14, 14, 14));  // two bytes
}

TEST_F(TokenizerTest, CutsLongTextsAndSaysSo) {
  WriteVocabulary();
  auto tokenizer = Tokenizer::Load(dir_, 5);
  ASSERT_TRUE(tokenizer.ok());
  const auto fits = (*tokenizer)->Encode("a b c");
  EXPECT_FALSE(fits->truncated);
  EXPECT_THAT(fits->ids, ElementsAre(13, 3, 4, 5, 14));
  const auto cut = (*tokenizer)->Encode("a b c a");
  EXPECT_TRUE(cut->truncated);
  EXPECT_THAT(cut->ids, ElementsAre(13, 3, 4, 5, 14));
}

TEST_F(TokenizerTest, SpecialTokensInTheTextAreTakenAsSuch) {
  WriteVocabulary();
  EXPECT_THAT(Ids("a<|endoftext|>b"), ElementsAre(13, 3, 14, 4, 14));
}

TEST_F(TokenizerTest, TokenizerJsonWinsOverVocabularyAndMerges) {
  WriteVocabulary();
  Write("tokenizer.json",
        R"({"added_tokens":[],"model":{"type":"BPE","vocab":{"a</w>":40,"<|startoftext|>":41,
            "<|endoftext|>":42},"merges":[]}})");
  EXPECT_THAT(Ids("a"), ElementsAre(41, 40, 42));
}

TEST_F(TokenizerTest, MergesMayBePairsOrStrings) {
  Write("tokenizer.json",
        R"({"model":{"vocab":{"a":0,"b":1,"ab":2,"b</w>":3,"ab</w>":4,"<|startoftext|>":5,
            "<|endoftext|>":6},"merges":["a b",["a","b</w>"]]}})");
  EXPECT_THAT(Ids("ab"), ElementsAre(5, 4, 6));
}

TEST_F(TokenizerTest, WhatCannotBeReadIsRefusedWithTheFilesName) {
  EXPECT_EQ(LoadError().code(), absl::StatusCode::kNotFound);
  WriteVocabulary();
  std::filesystem::remove(dir_ + "/merges.txt");
  EXPECT_EQ(LoadError().code(), absl::StatusCode::kNotFound);

  WriteVocabulary();
  Write("vocab.json", R"({"a":0,"b")");
  EXPECT_EQ(LoadError().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(LoadError().message()), HasSubstr("vocab.json"));

  for (const char* vocab : {"[]", "{}", R"({"a":-1})", R"({"a":"x"})", R"({"a":99999999999})"}) {
    Write("vocab.json", vocab);
    EXPECT_EQ(LoadError().code(), absl::StatusCode::kInvalidArgument) << vocab;
  }
  WriteVocabulary();
  for (const char* merges : {"a b c\n", "a\n", "a z\n", "a b\n\nab c</w>\n"}) {
    Write("merges.txt", merges);
    EXPECT_EQ(LoadError().code(), absl::StatusCode::kInvalidArgument) << merges;
  }
  WriteVocabulary();
  for (const char* json :
       {R"({"model":1})", R"({"model":{"vocab":{"a":1}}})", R"({"model":{"vocab":3,"merges":[]}})",
        R"({"model":{"vocab":{"<|endoftext|>":1},"merges":[[1,2]]}})",
        R"({"model":{"vocab":{"<|endoftext|>":1},"merges":[]},"added_tokens":[{"id":"x"}]})",
        R"({"model":{"vocab":{"a":1},"merges":[]}})"}) {
    Write("tokenizer.json", json);
    EXPECT_EQ(LoadError().code(), absl::StatusCode::kInvalidArgument) << json;
  }
  EXPECT_EQ(Tokenizer::Load(dir_, 1).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(CheckTextTest, SaysWhatIsWrong) {
  EXPECT_TRUE(CheckText("a photo \xF0\x9F\x90\xB1", 4096).ok());
  EXPECT_TRUE(CheckText(std::string(4096, 'x'), 4096).ok());
  EXPECT_EQ(ReasonOf(CheckText("", 4096)), "EMPTY_TEXT");
  EXPECT_EQ(ReasonOf(CheckText(std::string(4097, 'x'), 4096)), "TEXT_TOO_LONG");
  EXPECT_EQ(ReasonOf(CheckText(absl::string_view("a\0b", 3), 4096)), "NUL_IN_TEXT");
  for (const char* text :
       {"\xff", "\xc3", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "a\x80"}) {
    EXPECT_EQ(ReasonOf(CheckText(text, 4096)), "INVALID_UTF8");
  }
}

TEST(UnicodeTest, NormalisesAsTheReferenceDoes) {
  EXPECT_EQ(NormalizeText("  A\t\n B "), " a b ");
  EXPECT_EQ(NormalizeText("e\u0301"), "\u00e9");                         // composed
  EXPECT_EQ(NormalizeText("\u0130"), "i\u0307");                         // longer in lower case
  EXPECT_EQ(NormalizeText("\u03a3\u0391\u03a3"), "\u03c3\u03b1\u03c3");  // no final sigma
  EXPECT_EQ(NormalizeText("a\u00a0\u2028\u3000b\u200d"), "a b\u200d");
}

TEST(UnicodeTest, SplitsAsClipsPatternDoes) {
  EXPECT_THAT(SplitText("it's 42 o'clock!!"),
              ElementsAre("it", "'s", "4", "2", "o", "'", "clock", "!!"));
  EXPECT_THAT(SplitText("'ll''d<|endoftext|>"),
              ElementsAre("'ll", "''", "d", "<|", "endoftext", "|>"));
  EXPECT_THAT(SplitText(" "), ElementsAre());
}

}  // namespace
}  // namespace imagesearch::encoder
