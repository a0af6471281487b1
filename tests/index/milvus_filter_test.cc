// Filters in Milvus: what is translated answers as Filter::Matches does, on both servers; what is
// not is refused by name.
#include <cmath>
#include <cstdlib>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "index/filter/filter.h"
#include "index/milvus/expression.h"
#include "index/milvus/terms.h"
#include "tests/index/filter_generator.h"
#include "tests/index/milvus_server.h"

namespace imagesearch::index {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;
using ::testing::ElementsAre;
using ::testing::SizeIs;

Struct Texts(const std::vector<std::pair<std::string, std::string>>& fields) {
  Struct metadata;
  for (const auto& [key, value] : fields) {
    (*metadata.mutable_fields())[key].set_string_value(value);
  }
  return metadata;
}

std::string Translated(const std::string& text) {
  auto filter = Filter::Parse(text, Limits());
  if (!filter.ok()) return std::string(filter.status().message());
  auto expression = Translate(*filter);
  return expression.ok() ? *expression : ReasonOf(expression.status());
}

TEST(MilvusExpressionTest, LeavesAskForTheirTypeAndPath) {
  EXPECT_EQ(Translated(""), "");
  EXPECT_EQ(Translated("album = \"a \\\"b\\\"\""),
            "json_contains(terms[\"c\"][\"album\"], \"=sa \\\"b\\\"\")");
  EXPECT_EQ(Translated("camera.`f/1.8` >= 2"),
            "((exists terms[\"n\"][\"camera.f%2F1%2E8\"]) and terms[\"n\"][\"camera.f%2F1%2E8\"] "
            ">= 2.0)");
  EXPECT_EQ(Translated("id = \"2024/*\""), "(id >= \"2024/\" and id < \"20240\")");
  EXPECT_EQ(Translated("NOT has(a)"),
            "(not (((exists terms[\"c\"][\"a\"]) and not json_contains(terms[\"c\"][\"a\"], "
            "\"=z\"))))");
  // Regression: `not` binds before comparisons.
  EXPECT_EQ(Translated("NOT id > \"a\""), "(not (id > \"a\"))");
}

TEST(MilvusExpressionTest, ThePrefixWithoutAnEndIsAnOpenRange) {
  EXPECT_EQ(Translated("id = \"a\xF4\x8F\xBF\xBF*\""),
            "(id >= \"a\xF4\x8F\xBF\xBF\" and id < \"b\")");
  EXPECT_EQ(Translated("id = \"\xF4\x8F\xBF\xBF*\""), "(id >= \"\xF4\x8F\xBF\xBF\")");
  EXPECT_EQ(Translated("id = \"\xED\x9F\xBF*\""),
            "(id >= \"\xED\x9F\xBF\" and id < \"\xEE\x80\x80\")");
  EXPECT_EQ(Translated("id = \"\x7F*\""), "(id >= \"\x7F\" and id < \"\xC2\x80\")");
}

TEST(MilvusExpressionTest, WhatMilvusCantSayIsRefusedByName) {
  for (const char* filter :
       {"title = \"*sunset\"", "title = \"a*b\"", "tags:\"a*\"", "id = \"*x\"",
        "geo_within(place, 1, 2, 3)", "a = 1 AND NOT (b = \"*c*\" OR d = 2)"}) {
    EXPECT_EQ(Translated(filter), "NOT_ON_MILVUS") << filter;
  }
}

TEST(MilvusTermsTest, MetadataAreTakenApartByPathAndType) {
  Struct metadata = Texts({{"album", "Oslo"}, {"taken", "2024-05-01"}});
  auto& fields = *metadata.mutable_fields();
  fields["year"].set_number_value(2024);
  fields["tags"].mutable_list_value()->add_values()->set_string_value("cat");
  *fields["camera"].mutable_struct_value() = Texts({{"x.y", "z"}});
  EXPECT_EQ(
      TermsJson(metadata),
      "{\"c\":{\"album\":[\"=sOslo\"],\"camera\":[\"o\",\":sx.y\"],\"camera.x%2Ey\":[\"=sz\"],"
      "\"tags\":[\"l\",\":scat\"],\"taken\":[\"=s2024-05-01\",\"=t1714521600000000\"],"
      "\"year\":[\"=n2024\"]},\"n\":{\"year\":2024.0},"
      "\"s\":{\"album\":\"Oslo\",\"camera.x%2Ey\":\"z\",\"taken\":\"2024-05-01\"},"
      "\"t\":{\"taken\":1714521600000000}}");
}

// Numbers that are not finite, and values without a kind, are refused before they come here.
void MakeStorable(Value* value) {
  if (value->has_number_value() && !std::isfinite(value->number_value()))
    value->set_number_value(7);
  if (value->kind_case() == Value::KIND_NOT_SET) value->set_null_value({});
  if (value->has_struct_value()) {
    for (auto& [key, inner] : *value->mutable_struct_value()->mutable_fields())
      MakeStorable(&inner);
  }
  if (value->has_list_value()) {
    for (Value& inner : *value->mutable_list_value()->mutable_values()) MakeStorable(&inner);
  }
}

// The generator cuts words between bytes; its only longer character is e with an acute accent.
bool IsUtf8(const std::string& text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\xC3' && (i + 1 == text.size() || text[++i] != '\xA9')) return false;
    if (text[i] == '\xA9' && (i == 0 || text[i - 1] != '\xC3')) return false;
  }
  return true;
}

class MilvusFilterTest : public ::testing::TestWithParam<MilvusKind> {
 protected:
  MilvusFilterTest() : server_({GetParam()}) {
    MilvusOptions options;
    options.prefix = "filters";
    database_ = server_.Open(options);
    if (database_ == nullptr) std::abort();  // Open said why
    CollectionOptions collection;
    collection.name = "pictures";
    collection.dimension = 2;
    collection.index.kind = IndexKind::kFlat;
    auto made = database_->CreateCollection(collection);
    EXPECT_TRUE(made.ok()) << made.status();
    collection_ = *database_->GetCollection("pictures");
  }

  void Store(const std::string& id, const Struct& metadata) {
    UpsertItem item;
    item.id = id;
    item.vector = std::vector<float>{1, 0.5f};
    item.metadata = metadata;
    pending_.push_back(std::move(item));
  }
  void Write() {
    auto written = collection_->Upsert(std::exchange(pending_, {}), {});
    ASSERT_TRUE(written.ok()) << written.status();
    for (const UpsertItemResult& item : written->items)
      EXPECT_TRUE(item.status.ok()) << item.status;
  }
  absl::StatusOr<std::set<std::string>> Matching(const std::string& filter) {
    ListOptions list;
    list.filter = filter;
    list.page_size = 1000;
    list.with_vector = false;
    auto page = collection_->List(list);
    if (!page.ok()) return page.status();
    std::set<std::string> ids;
    for (const Record& record : page->records) ids.insert(record.id);
    return ids;
  }

  MilvusServer server_;
  std::unique_ptr<Database> database_;
  std::shared_ptr<Collection> collection_;
  std::vector<UpsertItem> pending_;
};

TEST_P(MilvusFilterTest, RandomFiltersMatchWhatTheyMatchHere) {
  const uint64_t seed = GeneratorSeed();
  SCOPED_TRACE(absl::StrCat("IMAGESEARCH_TEST_SEED=", seed));
  FilterGenerator generator(seed);
  std::map<std::string, Struct> records;
  for (int i = 0; i < 300; ++i) {
    Struct record = generator.Record();
    for (auto& [key, value] : *record.mutable_fields()) MakeStorable(&value);
    records[absl::StrCat(generator.Id(), i)] = record;
  }
  for (const auto& [id, record] : records) Store(id, record);
  ASSERT_NO_FATAL_FAILURE(Write());
  // Metadata come back as they were.
  std::vector<std::string> ids;
  for (const auto& [id, record] : records) ids.push_back(id);
  auto stored = collection_->Get(ids, false);
  ASSERT_TRUE(stored.ok()) << stored.status();
  for (size_t i = 0; i < ids.size(); ++i) {
    ASSERT_TRUE((*stored)[i].has_value()) << ids[i];
    EXPECT_EQ((*stored)[i]->metadata.SerializeAsString().size(),
              records[ids[i]].SerializeAsString().size());
    EXPECT_EQ(TermsJson((*stored)[i]->metadata), TermsJson(records[ids[i]]));
  }
  int compared = 0, refused = 0;
  for (int i = 0; i < 400; ++i) {
    const std::string text = generator.Expression(2);
    if (!IsUtf8(text)) continue;  // the server refuses those before
    auto filter = Filter::Parse(text, Limits());
    if (!filter.ok()) continue;
    auto found = Matching(text);
    if (absl::IsUnimplemented(found.status())) {
      EXPECT_EQ(ReasonOf(found.status()), "NOT_ON_MILVUS");
      EXPECT_TRUE(absl::StrContains(text, "*") || absl::StrContains(text, "geo_within")) << text;
      ++refused;
      continue;
    }
    ASSERT_TRUE(found.ok()) << text << ": " << found.status();
    std::set<std::string> wanted;
    for (const auto& [id, record] : records) {
      if (filter->Matches(id, record)) wanted.insert(id);
    }
    ++compared;
    EXPECT_EQ(*found, wanted) << text << "\n" << *Translate(*filter);
    if (HasFailure()) break;
  }
  EXPECT_GT(compared, 100);
  EXPECT_GT(refused, 10);
}

TEST_P(MilvusFilterTest, AnyTextIsAnIdAndAValue) {
  const std::vector<std::string> texts = {"plain",
                                          "q\"uo\"te",
                                          "ap'os",
                                          "back\\slash",
                                          "tab\tx",
                                          "nl\nx",
                                          "cr\rx",
                                          "\x01",
                                          "\x7F",
                                          "\xC3\xA9",
                                          "\xE6\x97\xA5\xE6\x9C\xAC",
                                          "\xF0\x9F\x98\x80",
                                          "per%cent",
                                          "un_der",
                                          "a\\nb",
                                          "\\u0041",
                                          "{x}",
                                          "$x",
                                          "/a~b",
                                          "end\\",
                                          "\xE2\x80\xA8",
                                          std::string("\0nul", 4),
                                          "[1]",
                                          "a\" or id != \""};
  for (const std::string& text : texts) Store(text, Texts({{text, text}}));
  ASSERT_NO_FATAL_FAILURE(Write());
  for (const std::string& text : texts) {
    auto found = collection_->Get({text}, false);
    ASSERT_TRUE(found.ok()) << found.status();
    ASSERT_TRUE((*found)[0].has_value()) << text;
    EXPECT_EQ((*found)[0]->metadata.fields().at(text).string_value(), text);
    std::string quoted;
    for (const char c : text) {
      if (static_cast<unsigned char>(c) < 0x20) {
        absl::StrAppend(&quoted, "\\u00", absl::Hex(c, absl::kZeroPad2));
      } else {
        if (c == '"' || c == '\\') quoted.push_back('\\');
        quoted.push_back(c);
      }
    }
    const auto ids = Matching(absl::StrCat("`", text, "` = \"", quoted, "\""));
    ASSERT_TRUE(ids.ok()) << text << ": " << ids.status();
    EXPECT_THAT(*ids, ElementsAre(text));
    const auto from =
        Matching(absl::StrCat("`", text, "` >= \"", quoted, "\" AND id = \"", quoted, "\""));
    ASSERT_TRUE(from.ok()) << text << ": " << from.status();
    EXPECT_THAT(*from, ElementsAre(text));
  }
  auto deleted = collection_->Delete(texts);
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  EXPECT_EQ(deleted->deleted, texts.size());
  EXPECT_EQ(collection_->Count("")->count, 0u);
}

TEST_P(MilvusFilterTest, ALongInListIsAnsweredInTime) {
  for (int i = 0; i < 50; ++i) Store(absl::StrCat("i", i), Texts({{"k", absl::StrCat("v", i)}}));
  ASSERT_NO_FATAL_FAILURE(Write());
  std::string list;
  for (int i = 0; i < 1000; ++i) absl::StrAppend(&list, i == 0 ? "" : ",", "\"v", i, "\"");
  const absl::Time start = absl::Now();
  const auto ids = Matching(absl::StrCat("k in (", list, ")"));
  ASSERT_TRUE(ids.ok()) << ids.status();
  EXPECT_THAT(*ids, SizeIs(50));
  EXPECT_LT(absl::Now() - start, absl::Seconds(5));
}

INSTANTIATE_TEST_SUITE_P(Servers, MilvusFilterTest,
                         ::testing::Values(MilvusKind::kReal, MilvusKind::kLite),
                         [](const auto& info) {
                           return info.param == MilvusKind::kReal ? "Milvus" : "MilvusLite";
                         });

}  // namespace
}  // namespace imagesearch::index
