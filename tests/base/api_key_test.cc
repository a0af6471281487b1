// Making, storing and matching API keys, and what a key file may not say.
#include "base/api_key.h"

#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace imagesearch {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(ApiKeyTest, MatchesItsOwnSecretOnly) {
  auto made = MakeApiKey("web", KeyScope::kWrite);
  auto other = MakeApiKey("web", KeyScope::kWrite);
  ASSERT_TRUE(made.ok() && other.ok());
  EXPECT_NE(made->secret, other->secret);
  EXPECT_EQ(ApiKeyId(made->secret), made->entry.id);
  EXPECT_TRUE(MatchesApiKey(made->entry, made->secret));
  EXPECT_FALSE(MatchesApiKey(made->entry, other->secret));
  std::string flipped = made->secret;
  flipped.back() = flipped.back() == 'A' ? 'B' : 'A';
  EXPECT_FALSE(MatchesApiKey(made->entry, flipped));
  EXPECT_FALSE(MatchesApiKey(made->entry, ""));
}

TEST(ApiKeyTest, TheFileKeepsEverythingButTheSecret) {
  auto made = MakeApiKey("importer \"night\"", KeyScope::kAdmin);
  ASSERT_TRUE(made.ok());
  made->entry.collections = {"art", "photos"};
  made->entry.per_second = 2.5;
  made->entry.concurrent = 7;
  made->entry.expires = absl::FromUnixSeconds(2000000000);
  const std::string text = FormatApiKeyFile({made->entry});
  EXPECT_THAT(text, Not(HasSubstr(made->secret.substr(17))));
  auto entries = ParseApiKeyFile(text);
  ASSERT_TRUE(entries.ok()) << entries.status();
  ASSERT_EQ(entries->size(), 1u);
  const ApiKeyEntry& entry = (*entries)[0];
  EXPECT_TRUE(MatchesApiKey(entry, made->secret));
  EXPECT_EQ(entry.name, made->entry.name);
  EXPECT_EQ(entry.scope, KeyScope::kAdmin);
  EXPECT_EQ(entry.collections, made->entry.collections);
  EXPECT_EQ(entry.per_second, 2.5);
  EXPECT_EQ(entry.concurrent, 7);
  EXPECT_EQ(entry.expires, made->entry.expires);
}

TEST(ApiKeyTest, WhatIsNoKeyHasNoId) {
  for (const char* text : {"", "isk_", "isk_0123456789ab_short",
                           "tok_0123456789ab_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                           "isk_0123456789AB_aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                           "isk_0123456789ab-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"}) {
    EXPECT_FALSE(ApiKeyId(text)) << text;
  }
}

TEST(ApiKeyTest, AFileThatCouldMeanMoreFreedomThanItsWriterThoughtIsRefused) {
  const std::string hash(64, 'a'), salt(32, 'b');
  const std::string good = R"("id":"0123456789ab","name":"n","salt":")" + salt + R"(","sha256":")" +
                           hash + R"(","scope":"read")";
  EXPECT_TRUE(ParseApiKeyFile(R"({"keys":[{)" + good + "}]}").ok());
  for (const std::string& more :
       {std::string(R"(,"colections":["art"])"), std::string(R"(,"collections":[])"),
        std::string(R"(,"collections":"art")"), std::string(R"(,"collections":[""])"),
        std::string(R"(,"per_second":0)"), std::string(R"(,"per_second":"5")"),
        std::string(R"(,"concurrent":0)"), std::string(R"(,"concurrent":1.5)"),
        std::string(R"(,"expires":"tomorrow")"), std::string(R"(,"expires":1)")}) {
    const auto parsed = ParseApiKeyFile(R"({"keys":[{)" + good + more + "}]}");
    EXPECT_EQ(ReasonOf(parsed.status()), "BAD_KEY_FILE") << more;
    EXPECT_THAT(std::string(parsed.status().message()), HasSubstr("key 1")) << more;
  }
  for (const std::string& text :
       {std::string(), std::string("{}"), std::string("[]"), std::string(R"({"keys":{}})"),
        std::string(R"({"keys":[1]})"), std::string(R"({"keys":[],"more":1})"),
        R"({"keys":[{)" + good + "},{" + good + "}]}"}) {
    EXPECT_FALSE(ParseApiKeyFile(text).ok()) << text;
  }
}

}  // namespace
}  // namespace imagesearch
