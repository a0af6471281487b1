// Random filters over random records: the field index and Filter::Matches must agree on each,
// through additions, replacements and removals. The seed is printed; IMAGESEARCH_TEST_SEED sets it.
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gtest/gtest.h"
#include "index/filter/field_index.h"
#include "index/filter/filter.h"
#include "index/filter/sorted_column.h"

namespace imagesearch::index {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

class Generator {
 public:
  explicit Generator(uint64_t seed) : random_(seed) {}

  int Below(int n) { return static_cast<int>(random_() % n); }
  template <typename T>
  const T& Pick(const std::vector<T>& from) {
    return from[Below(static_cast<int>(from.size()))];
  }

  std::string Id() { return absl::StrCat(Pick(words_), "/", Below(30)); }

  Value Scalar() {
    Value value;
    switch (Below(9)) {
      case 0:
        value.set_null_value({});
        break;
      case 1:
        value.set_bool_value(Below(2) == 0);
        break;
      case 2:
      case 3:
        value.set_number_value(Below(7) - 3);
        break;
      case 4:
        value.set_number_value(Pick(odd_numbers_));
        break;
      case 5:
        value.set_string_value(Pick(times_));
        break;
      case 6:
        break;  // no kind
      default:
        value.set_string_value(Pick(words_));
    }
    return value;
  }

  Value Any(int depth) {
    Value value;
    const int kind = Below(10);
    if (kind == 0) {
      for (int i = Below(4); i > 0; --i) {
        *value.mutable_list_value()->add_values() = depth > 0 ? Any(depth - 1) : Scalar();
      }
      value.mutable_list_value();
    } else if (kind == 1 && depth > 0) {
      *value.mutable_struct_value() = Record(depth - 1);
    } else if (kind == 2) {
      auto& fields = *value.mutable_struct_value()->mutable_fields();
      fields["lat"].set_number_value(Below(8) == 0 ? 90 : Below(190) - 95 + 0.125);
      fields["lng"].set_number_value(Below(8) == 0 ? 180 : Below(370) - 185 + 0.25);
      if (Below(4) == 0) fields["a"] = Scalar();
    } else {
      value = Scalar();
    }
    return value;
  }

  Struct Record(int depth = 2) {
    Struct record;
    for (int i = Below(5); i > 0; --i) (*record.mutable_fields())[Pick(names_)] = Any(depth);
    return record;
  }

  std::string Field() {
    std::vector<std::string> path;
    for (int i = Below(4) == 0 ? 2 : 1; i > 0; --i) {
      const std::string& name = Pick(names_);
      path.push_back(name == "a" || name == "tags" || name == "lat" ? name : "`" + name + "`");
    }
    return absl::StrJoin(path, ".");
  }

  std::string Quoted() {
    const std::string word = absl::StrCat(Pick(words_), "a").substr(0, Below(6) + 1);
    switch (Below(5)) {
      case 0:
        return absl::StrCat("\"", word.substr(0, 1), "*\"");
      case 1:
        return absl::StrCat("\"*", word.substr(1), "\"");
      case 2:
        return absl::StrCat("\"*", word.substr(1, 1), "*\"");
      default:
        return absl::StrCat("\"", word, "\"");
    }
  }

  std::string Literal(bool ordered) {
    switch (Below(ordered ? 4 : 6)) {
      case 0:
        return Quoted();
      case 1:
        return absl::StrCat(Below(7) - 3);
      case 2:
        return Pick(std::vector<std::string>{"0.5", "-2.25", "1e300", "3"});
      case 3:
        return Pick(moments_);
      case 4:
        return Pick(std::vector<std::string>{"true", "false"});
      default:
        return "null";
    }
  }

  std::string Leaf() {
    const std::string field = Field();
    switch (Below(11)) {
      case 0:
        return absl::StrCat("has(", field, ")");
      case 1:
        return absl::StrCat("starts_with(", field, ", \"", Pick(words_).substr(0, 2), "\")");
      case 2:
        return absl::StrCat(field, " in (", Literal(false), ", ", Literal(false), ", ",
                            Literal(false), ")");
      case 3:
      case 4:
        return absl::StrCat(field, ":", Literal(false));
      case 5:
        return absl::StrCat("geo_within(", field, ", ", Below(180) - 90, ", ", Below(360) - 180,
                            ", ", Pick(std::vector<int>{0, 100000, 3000000, 11000000, 30000000}),
                            ")");
      case 6: {
        const int south = Below(180) - 90;
        return absl::StrCat("geo_box(", field, ", ", south, ", ", Below(361) - 180, ", ",
                            south + Below(91 - south), ", ", Below(361) - 180, ")");
      }
      case 7:
        return absl::StrCat("id ", Pick(std::vector<std::string>{"=", "!=", "<", ">=", ">", "<="}),
                            " ", Below(2) ? Quoted() : absl::StrCat("\"", Id(), "\""));
      case 8:
        return absl::StrCat(field, Pick(std::vector<std::string>{"<", "<=", ">", ">="}),
                            Literal(true));
      default:
        return absl::StrCat(field, Pick(std::vector<std::string>{"=", "!="}), Literal(false));
    }
  }

  std::string Expression(int depth) {
    if (depth == 0 || Below(3) == 0) return Leaf();
    switch (Below(4)) {
      case 0:
        return absl::StrCat("NOT (", Expression(depth - 1), ")");
      case 1:
        return absl::StrCat("(", Expression(depth - 1), " AND ", Expression(depth - 1), ")");
      case 2:
        return absl::StrCat("(", Expression(depth - 1), " OR ", Expression(depth - 1), ")");
      default:
        return absl::StrCat(Leaf(), " AND ", Leaf(), " OR -", Leaf(), " AND (",
                            Expression(depth - 1), ")");
    }
  }

 private:
  std::mt19937_64 random_;
  const std::vector<std::string> names_ = {"a", "tags", "lat", "a.b", "1:a", ""};
  const std::vector<std::string> words_ = {"cat", "cats", "dog", "", "c", "Zebra", "été", "ab ab"};
  const std::vector<double> odd_numbers_ = {0.5,
                                            -0.0,
                                            -2.25,
                                            1e300,
                                            std::numeric_limits<double>::infinity(),
                                            -std::numeric_limits<double>::infinity(),
                                            std::numeric_limits<double>::quiet_NaN()};
  const std::vector<std::string> times_ = {"2024-05-01", "2024-05-01T02:00:00+02:00",
                                           "2024-05-01T00:00:01Z", "1960-01-01T00:00:00Z",
                                           "2024-13-01"};
  const std::vector<std::string> moments_ = {"2024-05-01", "2024-05-01T00:00:01Z",
                                             "1970-01-01T00:00:00.25Z"};
};

uint64_t Seed() {
  const char* text = std::getenv("IMAGESEARCH_TEST_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : std::random_device()();
}

struct Stored {
  std::string id;
  Struct metadata;
  bool live = false;
};

TEST(FilterPropertyTest, IndexAgreesWithMatchesUnderChurn) {
  const uint64_t seed = Seed();
  SCOPED_TRACE(absl::StrCat("IMAGESEARCH_TEST_SEED=", seed));
  Generator generator(seed);
  FieldIndex index;
  std::vector<Stored> stored(300);
  uint64_t matched = 0;
  uint64_t asked = 0;
  for (int round = 0; round < 60; ++round) {
    for (int change = 0; change < 100; ++change) {
      const uint32_t slot = generator.Below(static_cast<int>(stored.size()));
      Stored& record = stored[slot];
      if (record.live) index.Remove(slot, record.id, record.metadata);
      record.live = generator.Below(4) != 0;
      if (!record.live) continue;
      record.id = generator.Id();
      record.metadata = generator.Record();
      index.Add(slot, record.id, record.metadata);
    }
    for (int query = 0; query < 50; ++query) {
      const std::string text = generator.Expression(3);
      const absl::StatusOr<Filter> filter = Filter::Parse(text, Limits());
      ASSERT_TRUE(filter.ok()) << text << ": " << filter.status();
      const Bitmap result = index.Evaluate(*filter);
      uint64_t expected = 0;
      for (uint32_t slot = 0; slot < stored.size(); ++slot) {
        const Stored& record = stored[slot];
        const bool matches = record.live && filter->Matches(record.id, record.metadata);
        expected += matches;
        ASSERT_EQ(result.contains(slot), matches)
            << text << " on " << record.id << " " << record.metadata.ShortDebugString();
      }
      ASSERT_EQ(result.cardinality(), expected) << text;
      matched += expected;
      asked += stored.size();
    }
  }
  // Neither all nor nothing: the filters tell records apart.
  EXPECT_GT(matched, asked / 20);
  EXPECT_LT(matched, asked * 19 / 20);

  for (uint32_t slot = 0; slot < stored.size(); ++slot) {
    if (stored[slot].live) index.Remove(slot, stored[slot].id, stored[slot].metadata);
  }
  const absl::StatusOr<Filter> everything = Filter::Parse("NOT a = \"no such\"", Limits());
  EXPECT_TRUE(index.Evaluate(*everything).isEmpty());
  EXPECT_EQ(index.memory_bytes(), FieldIndex().memory_bytes());
}

// Many chunks, in random order of insertion and removal, against a plain scan.
TEST(FilterPropertyTest, SortedColumnAgreesWithAScan) {
  const uint64_t seed = Seed();
  SCOPED_TRACE(absl::StrCat("IMAGESEARCH_TEST_SEED=", seed));
  std::mt19937_64 random(seed);
  SortedColumn<int64_t> column;
  std::vector<int64_t> values(20000, -1);
  for (int i = 0; i < 60000; ++i) {
    const uint32_t slot = random() % values.size();
    if (values[slot] >= 0) column.Remove(values[slot], slot);
    values[slot] = random() % 3 == 0 ? -1 : static_cast<int64_t>(random() % 500);
    if (values[slot] >= 0) column.Add(values[slot], slot);
  }
  for (int64_t bound : {-1, 0, 1, 250, 498, 499, 500}) {
    for (bool included : {false, true}) {
      size_t expected = 0;
      for (int64_t value : values) {
        expected += value >= 0 && (included ? value <= bound : value < bound);
      }
      const size_t rank = column.RankOf(bound, included);
      ASSERT_EQ(rank, expected);
      size_t visited = 0;
      column.Visit(0, rank, [&](uint32_t slot) {
        ++visited;
        ASSERT_TRUE(values[slot] >= 0 && values[slot] <= bound);
      });
      ASSERT_EQ(visited, expected);
    }
  }
}

TEST(FieldIndexTest, ReadsRunBesideWrites) {
  FieldIndex index;
  Struct metadata;
  (*metadata.mutable_fields())["year"].set_number_value(2024);
  const Filter filter = *Filter::Parse("year >= 2024 AND id = \"a*\"", Limits());
  std::thread writer([&] {
    for (uint32_t slot = 0; slot < 2000; ++slot) {
      index.Add(slot, absl::StrCat("a", slot), metadata);
      if (slot % 2 == 1) index.Remove(slot, absl::StrCat("a", slot), metadata);
    }
  });
  for (int i = 0; i < 50; ++i) EXPECT_LE(index.Evaluate(filter).cardinality(), 1001u);
  writer.join();
  EXPECT_EQ(index.Evaluate(filter).cardinality(), 1000u);
}

TEST(FieldIndexTest, RemovingAnUnknownSlotChangesNothing) {
  FieldIndex index;
  Struct metadata;
  (*metadata.mutable_fields())["a"].set_number_value(1);
  index.Add(1, "x", metadata);
  index.Remove(2, "x", metadata);
  EXPECT_TRUE(index.Evaluate(*Filter::Parse("a = 1 AND id = \"x\"", Limits())).contains(1));
}

// Two slots may hold one id for a while: the old one is removed after the new one was added.
TEST(FieldIndexTest, ReplacingAnIdAddsBeforeItRemoves) {
  FieldIndex index;
  index.Add(1, "x", {});
  index.Add(2, "x", {});
  index.Remove(1, "x", {});
  const Bitmap result = index.Evaluate(*Filter::Parse("id = \"x\"", Limits()));
  EXPECT_TRUE(result.contains(2));
  EXPECT_EQ(result.cardinality(), 1u);
}

}  // namespace
}  // namespace imagesearch::index
