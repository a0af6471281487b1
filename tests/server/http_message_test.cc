// JSON and forms as requests, errors as JSON, and the OpenAPI document.
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "imagesearch/v1/imagesearch.pb.h"
#include "nlohmann/json.hpp"
#include "server/http/form.h"
#include "server/http/json.h"
#include "server/http/openapi.h"
#include "server/methods.h"

namespace imagesearch::server {
namespace {

using ::testing::HasSubstr;

TEST(HttpJsonTest, TakesBothSpellingsOfAField) {
  for (const char* json : {R"({"minScore": 0.5, "query": {"terms": [{"text": "a"}]}})",
                           R"({"min_score": 0.5, "query": {"terms": [{"text": "a"}]}})"}) {
    v1::SearchRequest request;
    ASSERT_TRUE(FromJson(json, &request).ok());
    EXPECT_EQ(request.min_score(), 0.5f);
    EXPECT_EQ(request.query().terms(0).text(), "a");
  }
}

TEST(HttpJsonTest, MistakesAreInvalidArgument) {
  std::string deep = R"({"images": [{"metadata": {"a": )";
  deep += std::string(200, '[') + std::string(200, ']') + "}}]}";
  for (const std::string& json :
       {std::string(""), std::string("{"), std::string("[]"), std::string("{\"nosuch\": 1}"),
        std::string("{\"images\": 3}"), std::string("{\"collection\": \"\xff\"}"), deep}) {
    v1::UpsertRequest request;
    const absl::Status status = FromJson(json, &request);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << json;
    EXPECT_EQ(ReasonOf(status), "BAD_JSON");
  }
}

TEST(HttpJsonTest, RepliesHoldZeros) {
  v1::CountResponse reply;
  const absl::StatusOr<std::string> json = ToJson(reply);
  ASSERT_TRUE(json.ok());
  EXPECT_EQ(nlohmann::json::parse(*json), (nlohmann::json{{"count", "0"}, {"version", "0"}}));
}

TEST(HttpJsonTest, ErrorsHaveCodeMessageAndDetails) {
  const auto error =
      nlohmann::json::parse(ErrorJson(Overloaded("OVERLOADED", "busy", absl::Milliseconds(250))));
  EXPECT_EQ(error["code"], 8);
  EXPECT_EQ(error["message"], "busy");
  bool reason = false, retry = false;
  for (const auto& detail : error["details"]) {
    reason |= detail.value("reason", "") == "OVERLOADED" && detail["domain"] == "imagesearch";
    retry |= detail.value("retryDelay", "") == "0.250s";
  }
  EXPECT_TRUE(reason && retry) << error;
  EXPECT_EQ(HttpStatus(absl::StatusCode::kResourceExhausted), 429);
}

TEST(HttpFormTest, PartsFillFieldsByPath) {
  v1::SearchRequest request;
  const std::vector<FormPart> parts = {
      {"limit", "5"},
      {"query.terms[1].image", std::string("\xff\xd8\0x", 4)},
      {"minScore", "-0.25"},
      {"exact", "true"},
      {"min_version", "7"},
      {"image", "second"},
      {"query.terms[2].weight", "-1"},
      {"request", R"({"filter": "a = 1", "query": {"terms": [{"text": "first"}]}})"}};
  ASSERT_TRUE(FromForm(parts, &request).ok()) << FromForm(parts, &request);
  EXPECT_EQ(request.filter(), "a = 1");
  EXPECT_EQ(request.limit(), 5);
  EXPECT_EQ(request.min_score(), -0.25f);
  EXPECT_TRUE(request.exact());
  EXPECT_EQ(request.min_version(), 7u);
  ASSERT_EQ(request.query().terms_size(), 3);
  EXPECT_EQ(request.query().terms(0).text(), "first");
  EXPECT_EQ(request.query().terms(1).image(), std::string("\xff\xd8\0x", 4));
  EXPECT_EQ(request.query().terms(2).image(), "second");
  EXPECT_EQ(request.query().terms(2).weight(), -1);
}

TEST(HttpFormTest, ImagesMetadataAndIds) {
  v1::UpsertRequest upsert;
  ASSERT_TRUE(FromForm({{"images[0].id", "first"},
                        {"image", "a"},
                        {"images[0].id", "x"},
                        {"images[0].metadata", R"({"k": 1})"},
                        {"image", "b"}},
                       &upsert)
                  .ok());
  ASSERT_EQ(upsert.images_size(), 2);
  EXPECT_EQ(upsert.images(0).id(), "x");
  EXPECT_EQ(upsert.images(0).metadata().fields().at("k").number_value(), 1);
  EXPECT_EQ(upsert.images(1).content(), "b");
  v1::GetRequest get;
  ASSERT_TRUE(FromForm({{"ids[0]", "x"}, {"ids[1]", "y"}}, &get).ok());
  EXPECT_EQ(get.ids_size(), 2);
  v1::EncodeRequest encode;
  ASSERT_TRUE(FromForm({{"text", "a"}, {"image", "b"}}, &encode).ok());
  EXPECT_EQ(encode.inputs(1).image(), "b");
}

// A form could not classify an upload: `image` was taken for the short name, which Classify has
// not.
TEST(HttpFormTest, AFieldThatIsNamedImageIsThatField) {
  v1::ClassifyRequest request;
  ASSERT_TRUE(
      FromForm({{"image", "\xff\xd8"}, {"labels[0]", "a"}, {"labels[1]", "b"}}, &request).ok());
  EXPECT_EQ(request.image(), "\xff\xd8");
  EXPECT_EQ(request.labels_size(), 2);
  EXPECT_FALSE(FromForm({{"text", "a"}}, &request).ok());
}

TEST(HttpFormTest, MistakesNameThePart) {
  const auto error = [](const FormPart& part) {
    v1::SearchRequest request;
    const absl::Status status = FromForm({part}, &request);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << part.name;
    return std::string(status.message());
  };
  EXPECT_THAT(error({"nosuch", "1"}), HasSubstr("form part \"nosuch\": SearchRequest has no such"));
  EXPECT_THAT(error({"limit", "many"}), HasSubstr("\"limit\": is not a whole number"));
  EXPECT_THAT(error({"query.terms[7].text", "x"}), HasSubstr("the list has 0 entries so far"));
  EXPECT_THAT(error({"query.terms[-1].text", "x"}), HasSubstr("the list has"));
  EXPECT_THAT(error({"query.terms[x].text", "x"}), HasSubstr("an index is written [n]"));
  EXPECT_THAT(error({"query.terms.text", "x"}), HasSubstr("is a list"));
  EXPECT_THAT(error({"limit.x", "x"}), HasSubstr("limit has no fields"));
  EXPECT_THAT(error({"filter", "\xff"}), HasSubstr("UTF-8"));
  EXPECT_THAT(error({"query", "{"}), HasSubstr("form part \"query\""));
  EXPECT_THAT(error({std::string(1000, 'x'), ""}), HasSubstr("unreadable name"));
  v1::GetRequest get;
  EXPECT_THAT(FromForm({{"image", "x"}}, &get).message(), HasSubstr("takes none"));
}

TEST(OpenApiTest, DescribesEveryMethodAndResolvesEveryReference) {
  const absl::StatusOr<std::string> text = OpenApi(ContractDescriptors(), "1.2.3");
  ASSERT_TRUE(text.ok()) << text.status();
  const auto document = nlohmann::json::parse(*text);
  EXPECT_EQ(document["info"]["version"], "1.2.3");
  EXPECT_EQ(document["paths"].size(), Methods().size() + 1);
  const auto& stream = document["paths"]["/v1/find-duplicates"]["post"];
  EXPECT_TRUE(stream["responses"]["200"]["content"].contains("application/x-ndjson")) << stream;
  EXPECT_FALSE(stream["requestBody"]["content"].contains("multipart/form-data"));
  for (const Method& method : Methods()) {
    EXPECT_TRUE(document["paths"].contains(HttpPath(method.name))) << method.name;
  }
  EXPECT_THAT(document["paths"]["/v1/search"]["post"]["description"].get<std::string>(),
              HasSubstr("Nearest stored images"));
  EXPECT_THAT(document["components"]["schemas"]["Hit"]["properties"]["score"]["description"]
                  .get<std::string>(),
              HasSubstr("Cosine"));
  const std::string start = "\"#/components/schemas/";
  for (size_t at = text->find(start); at != std::string::npos; at = text->find(start, at + 1)) {
    const size_t name = at + start.size();
    const std::string type = text->substr(name, text->find('"', name) - name);
    EXPECT_TRUE(document["components"]["schemas"].contains(type)) << type;
  }
}

TEST(OpenApiTest, PathsAreWordsWithHyphens) {
  EXPECT_EQ(HttpPath("Search"), "/v1/search");
  EXPECT_EQ(HttpPath("SearchBatch"), "/v1/search-batch");
  EXPECT_EQ(HttpPath("GetServerInfo"), "/v1/get-server-info");
}

}  // namespace
}  // namespace imagesearch::server
