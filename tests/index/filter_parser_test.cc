// What parses, and how mistakes are told.
#include <string>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "index/filter/expression.h"
#include "index/filter/filter.h"
#include "index/filter/lexer.h"

namespace imagesearch::index {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string ErrorOf(const std::string& text, const Limits& limits = {}) {
  const absl::StatusOr<Filter> filter = Filter::Parse(text, limits);
  if (filter.ok()) return "OK";
  EXPECT_EQ(filter.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReasonOf(filter.status()), "BAD_FILTER");
  return std::string(filter.status().message());
}

std::string Repeat(const std::string& text, int times) {
  std::string result;
  for (int i = 0; i < times; ++i) result += text;
  return result;
}

// The tree in words: enough to see precedence.
std::string Shape(const FilterNode& root) {
  return FoldFilter<std::string>(
      root,
      [](const FilterNode& node) { return node.field.keys.empty() ? "id" : node.field.keys[0]; },
      [](const FilterNode& node, const std::vector<std::string>& children) {
        std::string text = node.op == FilterOp::kNot  ? "not("
                           : node.op == FilterOp::kOr ? "or("
                                                      : "and(";
        for (const std::string& child : children) {
          absl::StrAppend(&text, text.back() == '(' ? "" : " ", child);
        }
        return text + ")";
      });
}

std::string ShapeOf(const std::string& text) {
  const absl::StatusOr<Filter> filter = Filter::Parse(text, Limits());
  return filter.ok() ? Shape(*filter->root()) : std::string(filter.status().message());
}

TEST(FilterParserTest, EmptyAndBlankTextMatchEverything) {
  for (const char* text : {"", " ", "\t\n "}) {
    const absl::StatusOr<Filter> filter = Filter::Parse(text, Limits());
    ASSERT_TRUE(filter.ok()) << filter.status();
    EXPECT_TRUE(filter->matches_all());
    EXPECT_TRUE(filter->Matches("x", {}));
  }
}

TEST(FilterParserTest, OrBindsTighterThanAndAsInAip160) {
  EXPECT_EQ(ShapeOf("a=1 AND b=1 OR c=1"), "and(a or(b c))");
  EXPECT_EQ(ShapeOf("a=1 OR b=1 AND c=1"), "and(or(a b) c)");
  EXPECT_EQ(ShapeOf("(a=1 AND b=1) OR c=1"), "or(and(a b) c)");
  EXPECT_EQ(ShapeOf("NOT a=1 OR b=1"), "or(not(a) b)");
  EXPECT_EQ(ShapeOf("-a=1 AND -(b=1 OR c=1)"), "and(not(a) not(or(b c)))");
  EXPECT_EQ(ShapeOf("NOT NOT a=1"), "a");
  EXPECT_EQ(ShapeOf("((a=1))"), "a");
  EXPECT_EQ(ShapeOf("a=1 and b=1 or not c=1"), "and(a or(b not(c)))");
}

TEST(FilterParserTest, AcceptsEveryForm) {
  for (const char* text : {
           R"(album = "holiday" AND year >= 2020 AND NOT (tags:"cat" OR rating < 3))",
           "a=-1.5e-3",
           "a = TRUE",
           "a != null",
           "a:*",
           "has(a.b.c)",
           "a in (1, \"x\", true, null)",
           "a IN [1]",
           "taken >= 2024-05-01T12:00:00+02:00",
           "taken < 2024-05-01",
           "a = 'it\\'s'",
           "`my field`.`x.y` = 1",
           "`id` = 1",
           "id in (\"a\")",
           "id = \"a*\"",
           "starts_with(id, \"a\")",
           "geo_within(place, -33.9, 151.2, 500)",
           "geo_box(place, 40, 170, 50, -170)",
           "größe > 3",
           R"(a = "A\u00e9\ud83d\ude00")",
       }) {
    EXPECT_EQ(ErrorOf(text), "OK") << text;
  }
}

struct Mistake {
  const char* text;
  int column;
  const char* says;
};

TEST(FilterParserTest, TellsTheColumnAndWhatWasExpected) {
  for (const Mistake& mistake : {
           Mistake{"year >=", 8, "expected a value"},
           Mistake{"year >= AND a = 1", 9, "expected a value"},
           Mistake{"album = holiday", 9, "text goes into quotes"},
           Mistake{"a = 1 b = 2", 7, "expected AND, OR or the end"},
           Mistake{"a = 1 AND", 10, "expected a field"},
           Mistake{"AND a = 1", 1, "expected a field"},
           Mistake{"(a = 1", 7, "the ')' of the '(' in column 1"},
           Mistake{"a = 1)", 6, "expected AND, OR or the end"},
           Mistake{"()", 2, "expected a field"},
           Mistake{"a == 1", 3, "one ="},
           Mistake{"a = 1 && b = 2", 7, "AND, OR, NOT"},
           Mistake{"a = \"x", 5, "no closing \""},
           Mistake{"a = `x", 5, "no closing `"},
           Mistake{R"(a = "x\q")", 7, "unknown escape"},
           Mistake{R"(a = "\u12")", 6, "four hexadecimal digits"},
           Mistake{R"(a = "\ud83d")", 6, "surrogate"},
           Mistake{"a = 1.", 5, "neither a number nor a time"},
           Mistake{"a = 2024-02-30", 5, "neither a number nor a time"},
           Mistake{"a = 1e999", 5, "out of the range"},
           Mistake{"a < true", 5, "have an order"},
           Mistake{"a in ()", 7, "expected a value"},
           Mistake{"a in 1", 6, "expected '('"},
           Mistake{"a in (1 2)", 9, "expected ',' or ')'"},
           Mistake{"a not in (1)", 3, "NOT goes before the field"},
           Mistake{"a", 2, "expected =, !="},
           Mistake{"id = 5", 6, "an id is a string"},
           Mistake{"id.x = 5", 3, "the id has no fields"},
           Mistake{"a. = 5", 4, "nested field"},
           Mistake{"near(a, 1)", 1, "unknown function 'near'"},
           Mistake{"has(1)", 5, "expected a field"},
           Mistake{"geo_within(p, 91, 0, 1)", 15, "lat must lie in [-90, 90]"},
           Mistake{"geo_within(p, 1, -181, 1)", 18, "lng must lie in [-180, 180]"},
           Mistake{"geo_within(p, 1, 1, -1)", 21, "metres must not be below 0"},
           Mistake{"geo_box(p, 2, 1, 1, 1)", 12, "south"},
           Mistake{"geo_box(p, 2, 1)", 16, "expected ',' and north"},
           Mistake{"geo_box(id, 1, 1, 2, 1)", 9, "not the id"},
           Mistake{"a = 1 # b", 7, "unexpected '#'"},
       }) {
    EXPECT_THAT(
        ErrorOf(mistake.text),
        AllOf(StartsWith(absl::StrCat("column ", mistake.column, ":")), HasSubstr(mistake.says)))
        << mistake.text;
  }
}

TEST(FilterParserTest, LongTokensAreCutBetweenCharactersInMessages) {
  const std::string message = ErrorOf("a = " + Repeat("é", 100));
  EXPECT_THAT(message, HasSubstr(Repeat("é", 16) + "...'"));
  EXPECT_LT(message.size(), 250u);
}

TEST(FilterParserTest, NestingIsLimitedWithoutRecursion) {
  const auto nested = [](int depth) { return Repeat("(", depth) + "a=1" + Repeat(")", depth); };
  EXPECT_EQ(ErrorOf(nested(16)), "OK");
  EXPECT_THAT(ErrorOf(nested(17)), StartsWith("column 17: parentheses and NOTs"));
  EXPECT_EQ(ErrorOf(Repeat("NOT ", 16) + "a=1"), "OK");
  EXPECT_THAT(ErrorOf(Repeat("NOT ", 17) + "a=1"), HasSubstr("deeper than 16"));
  EXPECT_EQ(ErrorOf(Repeat("NOT (", 8) + "a=1" + Repeat(")", 8)), "OK");
  EXPECT_THAT(ErrorOf(Repeat("NOT (", 9) + "a=1" + Repeat(")", 9)), HasSubstr("deeper than 16"));
  Limits loose;
  loose.max_filter_bytes = 4000000;
  EXPECT_THAT(ErrorOf(Repeat("(", 2000000), loose), HasSubstr("deeper than 16"));
  loose.max_filter_depth = 100000;
  EXPECT_EQ(ErrorOf(nested(100000), loose), "OK");
}

TEST(FilterParserTest, NodesAreLimited) {
  // n comparisons in one OR are n + 1 nodes.
  EXPECT_EQ(ErrorOf("a=1" + Repeat(" OR a=1", 254)), "OK");
  EXPECT_THAT(ErrorOf("a=1" + Repeat(" OR a=1", 255)), HasSubstr("more than 256"));
  EXPECT_EQ(ErrorOf("a=1" + Repeat(" AND a=1", 254)), "OK");
  EXPECT_THAT(ErrorOf("a=1" + Repeat(" AND a=1", 255)), HasSubstr("more than 256"));
}

TEST(FilterParserTest, InListsAreLimitedAndAreOneNode) {
  EXPECT_EQ(ErrorOf("a in (1" + Repeat(",1", 999) + ")"), "OK");
  EXPECT_THAT(ErrorOf("a in (1" + Repeat(",1", 1000) + ")"), HasSubstr("more than 1000 values"));
}

TEST(FilterParserTest, BytesAreLimited) {
  EXPECT_EQ(ErrorOf("a=1" + std::string(8192 - 3, ' ')), "OK");
  EXPECT_THAT(ErrorOf("a=1" + std::string(8192 - 2, ' ')), HasSubstr("8193 bytes"));
}

}  // namespace
}  // namespace imagesearch::index
