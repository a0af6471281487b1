// What filters mean, on single records. The expected answers are written by hand from
// docs/filters.md; each is asked of Filter::Matches and of the field index.
#include <string>
#include <vector>

#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "index/filter/field_index.h"
#include "index/filter/filter.h"

namespace imagesearch::index {
namespace {

using google::protobuf::Struct;

Struct Metadata(const std::string& json) {
  Struct metadata;
  const auto status = google::protobuf::util::JsonStringToMessage(json, &metadata);
  EXPECT_TRUE(status.ok()) << json;
  return metadata;
}

struct Case {
  const char* filter;
  const char* metadata;  // JSON
  bool matches;
};

void Check(const std::vector<Case>& cases, const std::string& id = "cats/0042.jpg") {
  for (const Case& c : cases) {
    const absl::StatusOr<Filter> filter = Filter::Parse(c.filter, Limits());
    ASSERT_TRUE(filter.ok()) << filter.status();
    const Struct metadata = Metadata(c.metadata);
    EXPECT_EQ(filter->Matches(id, metadata), c.matches) << c.filter << " on " << c.metadata;
    FieldIndex index;
    index.Add(7, id, metadata);
    EXPECT_EQ(index.Evaluate(*filter).contains(7), c.matches)
        << "index: " << c.filter << " on " << c.metadata;
  }
}

TEST(FilterMatchesTest, Strings) {
  Check({
      {R"(a = "x")", R"({"a": "x"})", true},
      {R"(a = "x")", R"({"a": "X"})", false},
      {R"(a != "x")", R"({"a": "y"})", true},
      {R"(a < "b")", R"({"a": "abc"})", true},
      {R"(a >= "b")", R"({"a": "b"})", true},
      {R"(a > "b")", R"({"a": "b"})", false},
      {R"(a = "")", R"({"a": ""})", true},
      {R"(a = "A\u00e9\ud83d\ude00\n")", "{\"a\": \"Aé😀\\n\"}", true},
  });
}

TEST(FilterMatchesTest, Wildcards) {
  Check({
      {R"(a = "sun*")", R"({"a": "sunset"})", true},
      {R"(a = "sun*")", R"({"a": "sun"})", true},
      {R"(a = "*set")", R"({"a": "sunset"})", true},
      {R"(a = "*ns*")", R"({"a": "sunset"})", true},
      {R"(a = "s*n*t")", R"({"a": "sunset"})", true},
      {R"(a = "s*t*t")", R"({"a": "set"})", false},
      {R"(a = "ab*ba")", R"({"a": "aba"})", false},
      {R"(a = "*")", R"({"a": ""})", true},
      {R"(a = "*")", R"({"a": 1})", false},
      {R"(a != "sun*")", R"({"a": "moon"})", true},
      {R"(a != "sun*")", R"({"a": "sunset"})", false},
      {R"(a = "5\*")", R"({"a": "5*"})", true},
      {R"(a = "5\*")", R"({"a": "55"})", false},
      {R"(a in ("5*"))", R"({"a": "55"})", false},
      {R"(a in ("5*"))", R"({"a": "5*"})", true},
      {R"(a < "5*")", "{\"a\": \"5)\"}", true},
      {R"(starts_with(a, "5*"))", R"({"a": "5*5"})", true},
      {R"(starts_with(a, "5*"))", R"({"a": "55"})", false},
  });
}

TEST(FilterMatchesTest, NumbersAndBooleans) {
  Check({
      {"a = 2020", R"({"a": 2020})", true},
      {"a = 2020.0", R"({"a": 2020})", true},
      {"a > -1", R"({"a": -0.5})", true},
      {"a = 0", R"({"a": -0.0})", true},
      {"a <= 1e3", R"({"a": 1000})", true},
      {"a != 1", R"({"a": 2})", true},
      {"a != 1", R"({"a": "2"})", false},
      {"a = 1", R"({"a": true})", false},
      {"a = true", R"({"a": true})", true},
      {"a != true", R"({"a": false})", true},
      {"a != true", R"({"a": 1})", false},
  });
}

TEST(FilterMatchesTest, MissingFieldsOtherTypesAndNot) {
  Check({
      {"a = 1", "{}", false},
      {"a != 1", "{}", false},
      {"NOT a = 1", "{}", true},
      {"NOT a < 1", R"({"a": "x"})", true},
      {"a.b = 1", R"({"a": 1})", false},
      {"a.b.c = 1", R"({"a": {"b": {"c": 1}}})", true},
      {"a.b.c = 1", R"({"a": [{"b": {"c": 1}}]})", false},
      {"`a.b` = 1", R"({"a.b": 1})", true},
      {"`a.b` = 1", R"({"a": {"b": 1}})", false},
      {"`id` = 1", R"({"id": 1})", true},
  });
}

TEST(FilterMatchesTest, PresenceAndNull) {
  Check({
      {"has(a)", R"({"a": 0})", true},
      {"has(a)", R"({"a": {}})", true},
      {"has(a)", R"({"a": []})", true},
      {"has(a)", R"({"a": null})", false},
      {"has(a)", "{}", false},
      {"a:*", R"({"a": false})", true},
      {"has(a.b)", R"({"a": {"b": "x"}})", true},
      {"a = null", R"({"a": null})", true},
      {"a = null", "{}", false},
      {"a != null", R"({"a": [1]})", true},
      {"a != null", R"({"a": null})", false},
      {"a != null", "{}", false},
      {"a in (1, null)", R"({"a": null})", true},
  });
}

TEST(FilterMatchesTest, Contains) {
  Check({
      {R"(tags:"cat")", R"({"tags": ["dog", "cat"]})", true},
      {R"(tags:"ca")", R"({"tags": ["dog", "cat"]})", false},
      {R"(tags:"ca*")", R"({"tags": ["dog", "cat"]})", true},
      {R"(tags = "cat")", R"({"tags": ["cat"]})", false},
      {"tags:2", R"({"tags": [1, 2, 2]})", true},
      {"tags:true", R"({"tags": [true]})", true},
      {"tags:null", R"({"tags": [null]})", true},
      {"tags:null", R"({"tags": []})", false},
      {"tags:2024-05-01", R"({"tags": ["2024-05-01T02:00:00+02:00"]})", true},
      {R"(tags:"cat")", R"({"tags": "cat"})", true},
      {R"(tags:"cat")", R"({"tags": {"cat": 1}})", true},
      {R"(tags:"cat")", R"({"tags": [["cat"]]})", false},
      {"tags:1", R"({"tags": {"1": 1}})", false},
  });
}

TEST(FilterMatchesTest, Times) {
  Check({
      {"t >= 2024-05-01T12:00:00Z", R"({"t": "2024-05-01T14:00:00+02:00"})", true},
      {"t > 2024-05-01T12:00:00Z", R"({"t": "2024-05-01T14:00:00+02:00"})", false},
      {"t = 2024-05-01T12:00:00.5Z", R"({"t": "2024-05-01t12:00:00.500z"})", true},
      {"t != 2024-05-01T12:00:00Z", R"({"t": "2024-05-01 12:00:01"})", true},
      {"t != 2024-05-01", R"({"t": "yesterday"})", false},
      {"t < 2024-05-01", R"({"t": "2024-04-30T23:59:59.999999Z"})", true},
      {"t < 2024-05-01", R"({"t": "2024-04-31"})", false},
      {"t < 2024-05-01", R"({"t": "1969-12-31T23:59:59Z"})", true},
      {"t < 2024-05-01", R"({"t": 5})", false},
      {"t = 2024-03-01", R"({"t": "2024-02-29T23:59:60Z"})", true},
      {"t in (2024-05-01, 2024-05-02)", R"({"t": "2024-05-02"})", true},
  });
}

TEST(FilterMatchesTest, Ids) {
  Check({
      {R"(id = "cats/0042.jpg")", "{}", true},
      {R"(id = "cats/*")", "{}", true},
      {R"(id = "dogs/*")", "{}", false},
      {R"(id != "cats/*")", "{}", false},
      {R"(starts_with(id, "cats/"))", "{}", true},
      {R"(id in ("x", "cats/0042.jpg"))", "{}", true},
      {R"(id > "cats/0041.jpg" AND id <= "cats/0042.jpg")", "{}", true},
      {R"(id:"cats/0042.jpg")", "{}", true},
      {"has(id)", "{}", true},
      {R"(`id` = "x")", R"({"id": "x"})", true},
  });
}

TEST(FilterMatchesTest, Geo) {
  // Paris and London are 343.6 km apart.
  const char* london = R"({"p": {"lat": 51.5074, "lng": -0.1278}})";
  const char* fiji = R"({"p": {"lat": -17.8, "lng": 179.9}})";
  Check({
      {"geo_within(p, 48.8566, 2.3522, 344000)", london, true},
      {"geo_within(p, 48.8566, 2.3522, 343000)", london, false},
      {"geo_within(p, 51.5074, -0.1278, 0)", london, true},
      {"geo_box(p, 50, -1, 52, 1)", london, true},
      {"geo_box(p, 50, 1, 52, 2)", london, false},
      {"geo_box(p, -20, 170, -10, -170)", fiji, true},
      {"geo_box(p, -20, -170, -10, 170)", fiji, false},
      {"geo_within(p, -17.8, -179.9, 25000)", fiji, true},
      {"geo_within(p, 90, 0, 200000)", R"({"p": {"lat": 89, "lng": 120}})", true},
      {"geo_within(p, 0, 0, 30000000)", fiji, true},
      {"geo_within(p, 0, 0, 30000000)", R"({"p": {"lat": 91, "lng": 0}})", false},
      {"geo_within(p, 0, 0, 30000000)", R"({"p": {"lat": "1", "lng": 0}})", false},
      {"geo_within(p, 0, 0, 30000000)", R"({"p": [1, 2]})", false},
      {"geo_within(a.p, 1, 2, 1)", R"({"a": {"p": {"lat": 1, "lng": 2, "name": "x"}}})", true},
  });
}

}  // namespace
}  // namespace imagesearch::index
