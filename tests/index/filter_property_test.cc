// Random filters over random records: the field index and Filter::Matches must agree on each,
// through additions, replacements and removals. The seed is printed; IMAGESEARCH_TEST_SEED sets it.
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "index/filter/field_index.h"
#include "index/filter/filter.h"
#include "index/filter/sorted_column.h"
#include "tests/index/filter_generator.h"

namespace imagesearch::index {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

struct Stored {
  std::string id;
  Struct metadata;
  bool live = false;
};

TEST(FilterPropertyTest, IndexAgreesWithMatchesUnderChurn) {
  const uint64_t seed = GeneratorSeed();
  SCOPED_TRACE(absl::StrCat("IMAGESEARCH_TEST_SEED=", seed));
  FilterGenerator generator(seed);
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
  const uint64_t seed = GeneratorSeed();
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
