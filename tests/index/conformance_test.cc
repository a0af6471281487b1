// See conformance.h.
#include "tests/index/conformance.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdlib>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gmock/gmock.h"

namespace imagesearch::index {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::UnorderedElementsAre;

constexpr int kDimension = 24;

std::vector<float> Normalised(std::vector<float> v) {
  double squares = 0;
  for (float x : v) squares += double{x} * x;
  for (float& x : v) x = static_cast<float>(x / std::sqrt(squares));
  return v;
}

// Axis `axis`, a little off towards the next one: distinct, ordered scores against Axis(axis).
std::vector<float> Near(int axis, float off) {
  std::vector<float> v(kDimension);
  v[axis % kDimension] = 1;
  v[(axis + 1) % kDimension] = off;
  return v;
}

google::protobuf::Struct Metadata(const std::string& key, const std::string& value) {
  google::protobuf::Struct metadata;
  (*metadata.mutable_fields())[key].set_string_value(value);
  return metadata;
}

UpsertItem Item(std::string id, std::vector<float> vector) {
  UpsertItem item;
  item.id = std::move(id);
  item.vector = std::move(vector);
  return item;
}

UpsertItem Item(std::string id, std::vector<float> vector, google::protobuf::Struct metadata) {
  UpsertItem item = Item(std::move(id), std::move(vector));
  item.metadata = std::move(metadata);
  return item;
}

class ConformanceTest : public ::testing::TestWithParam<BackendFactory> {
 protected:
  ConformanceTest() : backend_(GetParam().make()) {
    CollectionOptions options;
    options.name = "pictures";
    options.dimension = kDimension;
    options.index = GetParam().index;
    if (db() == nullptr) std::abort();  // the backend said why
    auto version = db()->CreateCollection(options);
    EXPECT_TRUE(version.ok()) << version.status();
    collection_ = *db()->GetCollection("pictures");
  }

  Database* db() { return backend_->database(); }
  void Restart() {
    collection_ = nullptr;
    backend_->Restart();
    collection_ = *db()->GetCollection("pictures");
  }

  UpsertResult Upsert(std::vector<UpsertItem> items, bool create_only = false) {
    auto result = collection_->Upsert(std::move(items), {.create_only = create_only});
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *result : UpsertResult{};
  }
  void UpsertOk(std::vector<UpsertItem> items) {
    for (const UpsertItemResult& item : Upsert(std::move(items)).items) {
      EXPECT_TRUE(item.status.ok()) << item.status;
    }
  }
  SearchResult Search(Query query) {
    auto result = collection_->Search(query);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *result : SearchResult{};
  }
  std::vector<std::string> Ids(const Query& query) {
    std::vector<std::string> ids;
    for (const Hit& hit : Search(query).hits) ids.push_back(hit.id);
    return ids;
  }
  uint64_t Count(const std::string& filter = "") {
    auto result = collection_->Count(filter);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? result->count : 0;
  }
  // Not a span of a braced list: {{"a", "b"}} would be one string made of two iterators.
  uint64_t Delete(std::vector<std::string> ids) {
    auto result = collection_->Delete(ids);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? result->deleted : 0;
  }
  std::vector<std::optional<Record>> Get(std::vector<std::string> ids, bool with_vector) {
    auto result = collection_->Get(ids, with_vector);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *result : std::vector<std::optional<Record>>(ids.size());
  }
  std::vector<std::string> ListIds(const std::string& filter, int page_size) {
    std::vector<std::string> ids;
    ListOptions list;
    list.filter = filter;
    list.page_size = page_size;
    do {
      auto page = collection_->List(list);
      EXPECT_TRUE(page.ok()) << page.status();
      if (!page.ok()) break;
      for (const Record& record : page->records) ids.push_back(record.id);
      list.page_token = page->next_page_token;
    } while (!list.page_token.empty());
    return ids;
  }

  // False where the engine refuses `exact`, which this asserts; then the query is made approximate.
  bool MayBeExact(Query* query) {
    query->exact = true;
    if (!GetParam().differences.refuses_exact) return true;
    const absl::Status refusal = collection_->Search(*query).status();
    EXPECT_EQ(refusal.code(), absl::StatusCode::kUnimplemented) << refusal;
    EXPECT_EQ(ReasonOf(refusal), "NOT_ON_MILVUS");
    query->exact = false;
    return false;
  }

  std::unique_ptr<Backend> backend_;
  std::shared_ptr<Collection> collection_;
};

// How many of `wanted` are in `found`.
size_t Overlap(const std::vector<std::string>& found, const std::vector<std::string>& wanted) {
  return std::count_if(wanted.begin(), wanted.end(), [&](const std::string& id) {
    return std::find(found.begin(), found.end(), id) != found.end();
  });
}

Query MakeQuery(std::vector<float> vector, int limit = 10) {
  Query query;
  query.vector = std::move(vector);
  query.limit = limit;
  return query;
}

TEST_P(ConformanceTest, EmptyCollectionAnswersNothing) {
  EXPECT_THAT(Search(MakeQuery(Near(0, 0))).hits, IsEmpty());
  EXPECT_EQ(Count(), 0u);
  EXPECT_THAT(ListIds("", 10), IsEmpty());
  EXPECT_GE(db()->version(), 1u);
}

TEST_P(ConformanceTest, UpsertIsFoundByTheNextSearch) {
  UpsertOk({Item("a", Near(0, 0.1f)), Item("b", Near(0, 0.5f)), Item("c", Near(5, 0))});
  EXPECT_THAT(Ids(MakeQuery(Near(0, 0), 2)), ElementsAre("a", "b"));
  UpsertOk({Item("d", Near(0, 0.01f))});
  EXPECT_THAT(Ids(MakeQuery(Near(0, 0), 2)), ElementsAre("d", "a"));
}

TEST_P(ConformanceTest, ScoresAreCosinesWhateverTheLengths) {
  std::vector<float> longer = Near(0, 1);
  for (float& x : longer) x *= 1e20f;
  UpsertOk({Item("a", longer), Item("opposite", {-1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                                 0,  0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0})});
  Query query = MakeQuery(Near(0, 0));
  for (float& x : query.vector) x *= 1e-20f;
  const SearchResult result = Search(query);
  ASSERT_THAT(result.hits, SizeIs(2));
  EXPECT_NEAR(result.hits[0].score, std::sqrt(0.5), 1e-6);
  EXPECT_NEAR(result.hits[1].score, -1, 1e-6);
}

TEST_P(ConformanceTest, UpsertReplacesVectorAndMetadata) {
  const UpsertResult first = Upsert({Item("a", Near(0, 0), Metadata("k", "old"))});
  EXPECT_TRUE(first.items[0].created);
  const UpsertResult second = Upsert({Item("a", Near(3, 0))});
  EXPECT_FALSE(second.items[0].created);
  EXPECT_GT(second.version, first.version);
  EXPECT_EQ(Count(), 1u);
  Query query = MakeQuery(Near(3, 0));
  query.with_metadata = true;
  query.with_vector = true;
  const SearchResult result = Search(query);
  ASSERT_THAT(result.hits, SizeIs(1));
  EXPECT_NEAR(result.hits[0].score, 1, 1e-6);
  EXPECT_TRUE(result.hits[0].metadata.fields().empty());
  EXPECT_EQ(result.hits[0].vector, Near(3, 0));
  EXPECT_GE(result.version, second.version);
}

TEST_P(ConformanceTest, DuplicateIdInOneBatchKeepsTheLast) {
  const UpsertResult result =
      Upsert({Item("a", Near(0, 0)), Item("b", Near(1, 0)), Item("a", Near(2, 0))});
  ASSERT_THAT(result.items, SizeIs(3));
  EXPECT_TRUE(result.items[0].created);
  EXPECT_TRUE(result.items[2].created);
  EXPECT_EQ(Count(), 2u);
  EXPECT_NEAR(Search(MakeQuery(Near(2, 0), 1)).hits[0].score, 1, 1e-6);
}

TEST_P(ConformanceTest, BadItemsFailAlone) {
  std::vector<float> nan = Near(0, 0), zero(kDimension);
  nan[3] = std::nanf("");
  const UpsertResult result =
      Upsert({Item("nan", nan), Item("zero", zero), Item("short", {1, 2}), Item("", Near(0, 0)),
              Item(std::string(257, 'x'), Near(0, 0)), Item("good", Near(0, 0))});
  ASSERT_THAT(result.items, SizeIs(6));
  EXPECT_EQ(ReasonOf(result.items[0].status), "NOT_FINITE");
  EXPECT_EQ(ReasonOf(result.items[1].status), "ZERO_NORM");
  EXPECT_EQ(ReasonOf(result.items[2].status), "DIM_MISMATCH");
  EXPECT_EQ(ReasonOf(result.items[3].status), "BAD_ID");
  EXPECT_EQ(ReasonOf(result.items[4].status), "BAD_ID");
  EXPECT_TRUE(result.items[5].status.ok());
  EXPECT_THAT(ListIds("", 10), ElementsAre("good"));
}

TEST_P(ConformanceTest, NothingWrittenHasNoVersion) {
  const uint64_t before = db()->version();
  EXPECT_EQ(Upsert({Item("zero", std::vector<float>(kDimension))}).version, 0u);
  EXPECT_EQ(db()->version(), before);
}

TEST_P(ConformanceTest, CreateOnlyLeavesWhatExists) {
  UpsertOk({Item("a", Near(0, 0), Metadata("k", "old"))});
  const UpsertResult result =
      Upsert({Item("a", Near(1, 0)), Item("b", Near(1, 0))}, /*create_only=*/true);
  EXPECT_EQ(result.items[0].status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(result.items[1].created);
  EXPECT_EQ(Count("k = \"old\""), 1u);
}

TEST_P(ConformanceTest, MetadataOnlyUpsertKeepsTheVector) {
  UpsertOk({Item("a", Near(0, 0), Metadata("k", "old"))});
  UpsertItem update;
  update.id = "a";
  update.metadata = Metadata("k", "new");
  UpsertItem missing = update;
  missing.id = "missing";
  const UpsertResult result = Upsert({update, missing});
  EXPECT_TRUE(result.items[0].status.ok());
  EXPECT_FALSE(result.items[0].created);
  EXPECT_EQ(result.items[1].status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Count("k = \"old\""), 0u);
  EXPECT_EQ(Count("k = \"new\""), 1u);
  EXPECT_NEAR(Search(MakeQuery(Near(0, 0))).hits[0].score, 1, 1e-6);
  update.metadata.reset();  // absent without a vector: kept
  UpsertOk({update});
  EXPECT_EQ(Count("k = \"new\""), 1u);
}

TEST_P(ConformanceTest, DeleteHidesAtOnce) {
  UpsertOk({Item("a", Near(0, 0)), Item("b", Near(0, 0.2f)), Item("c", Near(0, 0.4f))});
  EXPECT_EQ(Delete({"a", "c", "a", "missing"}), 2u);
  EXPECT_THAT(Ids(MakeQuery(Near(0, 0))), ElementsAre("b"));
  EXPECT_EQ(Count(), 1u);
  EXPECT_THAT(ListIds("", 1), ElementsAre("b"));
  EXPECT_FALSE(Get({"a"}, false)[0].has_value());
}

TEST_P(ConformanceTest, DeletedThenWrittenAgainIsCreated) {
  UpsertOk({Item("a", Near(0, 0))});
  EXPECT_EQ(Delete({"a"}), 1u);
  EXPECT_TRUE(Upsert({Item("a", Near(1, 0))}).items[0].created);
  EXPECT_THAT(Ids(MakeQuery(Near(1, 0))), ElementsAre("a"));
}

TEST_P(ConformanceTest, DeleteByFilterTakesExactlyTheMatches) {
  for (int i = 0; i < 20; ++i) {
    UpsertOk({Item(absl::StrCat("i", i), Near(i, 0.1f), Metadata("k", i % 2 ? "odd" : "even"))});
  }
  auto deleted = collection_->DeleteByFilter("k = \"odd\"");
  ASSERT_TRUE(deleted.ok()) << deleted.status();
  EXPECT_EQ(deleted->deleted, 10u);
  EXPECT_EQ(Count(), 10u);
  EXPECT_EQ(Count("k = \"odd\""), 0u);
  EXPECT_EQ(collection_->DeleteByFilter("k = \"odd\"")->deleted, 0u);
}

TEST_P(ConformanceTest, FilteredSearchFindsFarMatches) {
  std::vector<UpsertItem> items;
  for (int i = 0; i < 200; ++i) {
    items.push_back(Item(absl::StrCat("near", i), Near(0, 0.001f * i), Metadata("k", "near")));
  }
  for (int i = 0; i < 5; ++i) {
    items.push_back(Item(absl::StrCat("far", i), Near(12, 0.1f * i), Metadata("k", "far")));
  }
  UpsertOk(std::move(items));
  Query query = MakeQuery(Near(0, 0));
  query.filter = "k = \"far\"";
  EXPECT_THAT(Ids(query), SizeIs(5));
  query.filter = "k = \"nothing\"";
  EXPECT_THAT(Ids(query), IsEmpty());
}

TEST_P(ConformanceTest, EqualScoresAreOrderedById) {
  std::vector<UpsertItem> items;
  for (int i = 99; i >= 0; --i) {
    items.push_back(Item(absl::StrCat("copy", i / 10, i % 10), Near(0, 0)));
  }
  UpsertOk(std::move(items));
  Query query = MakeQuery(Near(0, 0), 3);
  if (!MayBeExact(&query)) {  // which of the equals come is the index's choice, not their order
    const std::vector<std::string> ids = Ids(query);
    EXPECT_THAT(ids, SizeIs(3));
    EXPECT_TRUE(std::is_sorted(ids.begin(), ids.end()));
    return;
  }
  EXPECT_THAT(Ids(query), ElementsAre("copy00", "copy01", "copy02"));
  query.offset = 40;
  EXPECT_THAT(Ids(query), ElementsAre("copy40", "copy41", "copy42"));
}

TEST_P(ConformanceTest, OffsetAndMinScoreCut) {
  for (int i = 0; i < 8; ++i) UpsertOk({Item(absl::StrCat("i", i), Near(0, 0.3f * i))});
  Query query = MakeQuery(Near(0, 0), 3);
  query.offset = 2;
  EXPECT_THAT(Ids(query), ElementsAre("i2", "i3", "i4"));
  query.offset = 7;
  EXPECT_THAT(Ids(query), ElementsAre("i7"));
  query.offset = 8;
  EXPECT_THAT(Ids(query), IsEmpty());
  query.offset = 0;
  query.limit = 10;
  query.min_score = 0.9f;  // 1 / sqrt(1 + (0.3 i)^2): 1, 0.958, 0.857
  EXPECT_THAT(Ids(query), ElementsAre("i0", "i1"));
}

TEST_P(ConformanceTest, BadQueriesAreRefusedByName) {
  auto reason = [&](const Query& query) { return ReasonOf(collection_->Search(query).status()); };
  Query query = MakeQuery({1, 2, 3});
  EXPECT_EQ(reason(query), "DIM_MISMATCH");
  query = MakeQuery(std::vector<float>(kDimension));
  EXPECT_EQ(reason(query), "ZERO_NORM");
  query.vector[0] = INFINITY;
  EXPECT_EQ(reason(query), "NOT_FINITE");
  query = MakeQuery(Near(0, 0));
  query.filter = "k = ";
  EXPECT_EQ(reason(query), "BAD_FILTER");
  query = MakeQuery(Near(0, 0), 0);
  EXPECT_EQ(collection_->Search(query).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_P(ConformanceTest, SearchBatchAnswersLikeSingleSearches) {
  for (int i = 0; i < 50; ++i) {
    UpsertOk({Item(absl::StrCat("i", i), Near(i % kDimension, 0.02f * i),
                   Metadata("k", i % 2 ? "odd" : "even"))});
  }
  std::vector<Query> queries;
  for (int i = 0; i < 5; ++i) {
    queries.push_back(MakeQuery(Near(i, 0.3f), 3 + i));
    if (i % 2) queries.back().filter = "k = \"odd\"";
  }
  queries.push_back(MakeQuery({1}));
  const auto results = collection_->SearchBatch(queries);
  ASSERT_THAT(results, SizeIs(6));
  for (int i = 0; i < 5; ++i) {
    ASSERT_TRUE(results[i].ok()) << results[i].status();
    std::vector<std::string> ids;
    for (const Hit& hit : results[i]->hits) ids.push_back(hit.id);
    EXPECT_EQ(ids, Ids(queries[i]));
  }
  EXPECT_EQ(ReasonOf(results[5].status()), "DIM_MISMATCH");
}

TEST_P(ConformanceTest, ExpiredImagesAreHiddenTheMomentTheyExpire) {
  UpsertItem item = Item("a", Near(0, 0), Metadata("k", "v"));
  item.expire_time = absl::FromUnixSeconds(1'700'000'000) + absl::Minutes(10);
  UpsertItem renewed = item;
  renewed.id = "renewed";
  UpsertOk({item, renewed, Item("stays", Near(0, 0.5f))});
  backend_->AdvanceClock(absl::Minutes(9));
  EXPECT_EQ(Count(), 3u);
  renewed.vector.reset();
  renewed.metadata.reset();
  renewed.expire_time += absl::Hours(1);
  UpsertOk({renewed});
  backend_->AdvanceClock(absl::Minutes(1));
  EXPECT_THAT(Ids(MakeQuery(Near(0, 0))), ElementsAre("renewed", "stays"));
  EXPECT_EQ(Count(), 2u);
  EXPECT_EQ(Count("k = \"v\""), 1u);
  EXPECT_THAT(ListIds("", 10), ElementsAre("renewed", "stays"));
  EXPECT_FALSE(Get({"a"}, true)[0].has_value());
  EXPECT_EQ(Delete({"a"}), 0u);
  Restart();
  EXPECT_THAT(Ids(MakeQuery(Near(0, 0))), ElementsAre("renewed", "stays"));
  EXPECT_TRUE(Upsert({Item("a", Near(0, 0))}, /*create_only=*/true).items[0].created);
  EXPECT_EQ(Count(), 3u);
}

TEST_P(ConformanceTest, GetReturnsRecordsInOrder) {
  UpsertItem item = Item("a", Near(0, 0), Metadata("k", "v"));
  item.content_hash = "abc123";
  const uint64_t before = db()->version();
  const uint64_t version = Upsert({item, Item("b", Near(1, 1))}).version;
  const auto records = Get({"b", "missing", "a"}, true);
  ASSERT_THAT(records, SizeIs(3));
  EXPECT_EQ(records[0]->vector, Normalised(Near(1, 1)));
  EXPECT_FALSE(records[1].has_value());
  EXPECT_EQ(records[2]->content_hash, "abc123");
  if (GetParam().differences.versions_are_times) {
    EXPECT_LE(records[2]->version, version);
    EXPECT_GT(records[2]->version, before);
  } else {
    EXPECT_EQ(records[2]->version, version);
  }
  EXPECT_EQ(records[2]->metadata.fields().at("k").string_value(), "v");
  EXPECT_EQ(records[2]->expire_time, absl::InfiniteFuture());
  EXPECT_THAT(Get({"a"}, false)[0]->vector, IsEmpty());
}

TEST_P(ConformanceTest, ListPagesInIdOrderWhileWritesGoOn) {
  for (int i = 0; i < 30; ++i) {
    UpsertOk({Item(absl::StrCat("i", i / 10, i % 10), Near(i, 0.1f),
                   Metadata("k", i % 3 ? "x" : "third"))});
  }
  EXPECT_THAT(ListIds("", 7), SizeIs(30));
  EXPECT_THAT(ListIds("k = \"third\"", 4),
              ElementsAre("i00", "i03", "i06", "i09", "i12", "i15", "i18", "i21", "i24", "i27"));
  ListOptions list;
  list.page_size = 10;
  const ListPage first = *collection_->List(list);
  EXPECT_EQ(Delete({"i00", "i15"}), 2u);
  UpsertOk({Item("i05x", Near(0, 0)), Item("i155", Near(0, 0))});
  list.page_token = first.next_page_token;
  const ListPage second = *collection_->List(list);
  ASSERT_THAT(second.records, SizeIs(10));
  EXPECT_EQ(second.records[0].id, "i10");
  EXPECT_EQ(second.records[5].id, "i155");
}

TEST_P(ConformanceTest, ListKeepsItsByteBudget) {
  for (int i = 0; i < 6; ++i) UpsertOk({Item(absl::StrCat("i", i), Near(i, 0))});
  ListOptions list;
  list.max_bytes = 1;
  EXPECT_THAT(collection_->List(list)->records, SizeIs(1));
  list.max_bytes = 3 * (kDimension * 4 + 2 + 48);
  const ListPage page = *collection_->List(list);
  EXPECT_THAT(page.records, SizeIs(3));
  list.page_token = page.next_page_token;
  EXPECT_EQ(collection_->List(list)->records[0].id, "i3");
}

TEST_P(ConformanceTest, ForeignPageTokensAreRefused) {
  for (int i = 0; i < 4; ++i) UpsertOk({Item(absl::StrCat("i", i), Near(i, 0))});
  ListOptions list;
  list.page_size = 2;
  const std::string token = collection_->List(list)->next_page_token;
  ASSERT_FALSE(token.empty());
  list.page_token = token;
  list.filter = "has(k)";
  EXPECT_EQ(ReasonOf(collection_->List(list).status()), "BAD_PAGE_TOKEN");
  list.filter = "";
  for (size_t i = 0; i < token.size(); ++i) {
    list.page_token = token;
    list.page_token[i] = token[i] == 'A' ? 'B' : 'A';
    EXPECT_EQ(ReasonOf(collection_->List(list).status()), "BAD_PAGE_TOKEN") << i;
    list.page_token = token.substr(0, i);
    if (i == 0) continue;  // an empty token starts at the front
    EXPECT_EQ(ReasonOf(collection_->List(list).status()), "BAD_PAGE_TOKEN") << i;
  }
}

TEST_P(ConformanceTest, RestartAnswersTheSame) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  auto vector = [&] {
    std::vector<float> v(kDimension);
    for (float& x : v) x = normal(random);
    return v;
  };
  for (int i = 0; i < 300; ++i) {
    UpsertOk({Item(absl::StrCat("i", i % 200), vector(), Metadata("k", i % 2 ? "odd" : "even"))});
  }
  EXPECT_EQ(Delete({"i3", "i4"}), 2u);
  const uint64_t version = db()->version();
  const std::string instance = db()->instance_id();
  std::vector<Query> queries;
  for (int i = 0; i < 20; ++i) {
    queries.push_back(MakeQuery(vector()));
    MayBeExact(&queries.back());
    if (i % 2) queries.back().filter = "k = \"odd\"";
  }
  std::vector<std::vector<std::string>> before;
  for (const Query& query : queries) before.push_back(Ids(query));
  Restart();
  EXPECT_EQ(db()->instance_id(), instance);
  EXPECT_GE(db()->version(), version);
  EXPECT_EQ(Count(), 198u);
  for (size_t i = 0; i < queries.size(); ++i) EXPECT_EQ(Ids(queries[i]), before[i]);
  EXPECT_GT(Upsert({Item("later", Near(0, 0))}).version, version);
}

// Every batch replaces the same eight images, so a reader must find eight of one generation.
TEST_P(ConformanceTest, ReadersNeverSeeHalfABatch) {
  constexpr int kBatch = 8;
  auto write = [&](int generation) {
    std::vector<UpsertItem> items;
    for (int i = 0; i < kBatch; ++i) {
      items.push_back(Item(absl::StrCat("i", i), Near(generation, 0.1f * static_cast<float>(i))));
      items.back().metadata.emplace();
      (*items.back().metadata->mutable_fields())["generation"].set_number_value(generation);
    }
    UpsertOk(std::move(items));
  };
  write(0);
  std::atomic<bool> stop{false};
  std::atomic<int> searches{0};
  std::vector<std::thread> readers;
  for (int reader = 0; reader < 2; ++reader) {
    readers.emplace_back([&, reader] {
      Query query = MakeQuery(Near(0, 0.5f), 20);
      query.with_metadata = true;
      if (reader == 1) query.filter = "generation >= 0";
      double newest = 0;
      while (!stop.load()) {
        auto result = collection_->Search(query);
        ASSERT_TRUE(result.ok()) << result.status();
        if (GetParam().differences.shows_halves_of_batches) {
          // Never more, and none twice.
          ASSERT_LE(result->hits.size(), static_cast<size_t>(kBatch));
          std::vector<std::string> ids;
          for (const Hit& hit : result->hits) ids.push_back(hit.id);
          std::sort(ids.begin(), ids.end());
          ASSERT_EQ(std::unique(ids.begin(), ids.end()), ids.end());
          searches.fetch_add(1);
          continue;
        }
        ASSERT_EQ(result->hits.size(), static_cast<size_t>(kBatch));
        const double generation = result->hits[0].metadata.fields().at("generation").number_value();
        ASSERT_GE(generation, newest) << "went back";
        newest = generation;
        for (const Hit& hit : result->hits) {
          ASSERT_EQ(hit.metadata.fields().at("generation").number_value(), generation);
        }
        ASSERT_EQ(collection_->Count(query.filter)->count, static_cast<uint64_t>(kBatch));
        searches.fetch_add(1);
      }
    });
  }
  for (int generation = 1; generation < 100; ++generation) write(generation);
  while (searches.load() < 20 && !HasFailure()) std::this_thread::yield();
  stop = true;
  for (std::thread& reader : readers) reader.join();
  Query query = MakeQuery(Near(0, 0.5f), 20);
  query.filter = "generation = 99";
  EXPECT_THAT(Search(query).hits, SizeIs(kBatch));
}

TEST_P(ConformanceTest, OptimizeKeepsEveryAnswer) {
  std::mt19937 random(11);
  std::normal_distribution<float> normal;
  for (int i = 0; i < 400; ++i) {
    std::vector<float> v(kDimension);
    for (float& x : v) x = normal(random);
    UpsertOk({Item(absl::StrCat("i", i % 300), v)});
  }
  EXPECT_EQ(Delete({"i7"}), 1u);
  Query query = MakeQuery(Near(0, 0.5f), 50);
  const bool exact = MayBeExact(&query);
  const std::vector<std::string> before = Ids(query);
  const absl::Status optimized = collection_->Optimize();
  ASSERT_TRUE(optimized.ok()) << optimized;
  if (exact) {
    EXPECT_EQ(Ids(query), before);
  } else {
    EXPECT_GE(Overlap(Ids(query), before), 45u);  // of 50
  }
  EXPECT_EQ(Count(), 299u);
  UpsertOk({Item("new", Near(0, 0.5f))});
  EXPECT_EQ(Ids(query)[0], "new");
}

TEST_P(ConformanceTest, CollectionsAreApart) {
  CollectionOptions options;
  options.name = "other";
  options.dimension = 2;
  options.index = GetParam().index;
  ASSERT_TRUE(db()->CreateCollection(options).ok());
  EXPECT_EQ(db()->CreateCollection(options).status().code(), absl::StatusCode::kAlreadyExists);
  auto other = *db()->GetCollection("other");
  ASSERT_TRUE(other->Upsert({Item("a", {1, 0})}, {}).ok());
  UpsertOk({Item("a", Near(0, 0)), Item("b", Near(0, 0))});
  EXPECT_EQ(other->Count("")->count, 1u);
  ASSERT_TRUE(db()->DeleteCollection("other").ok());
  EXPECT_EQ(ReasonOf(other->Count("").status()), "NO_SUCH_COLLECTION");
  EXPECT_EQ(ReasonOf(other->Upsert({Item("x", {1, 0})}, {}).status()), "NO_SUCH_COLLECTION");
  EXPECT_EQ(ReasonOf(db()->GetCollection("other").status()), "NO_SUCH_COLLECTION");
  EXPECT_EQ(Count(), 2u);
  ASSERT_TRUE(db()->CreateCollection(options).ok());
  EXPECT_EQ((*db()->GetCollection("other"))->Count("")->count, 0u);
  Restart();
  EXPECT_THAT(db()->ListCollections(), SizeIs(2));
  EXPECT_EQ((*db()->GetCollection("other"))->Count("")->count, 0u);
  EXPECT_EQ(Count(), 2u);
}

TEST_P(ConformanceTest, BadCollectionsAreRefusedByName) {
  auto reason = [&](const std::string& name, int dimension, IndexOptions index) {
    CollectionOptions options;
    options.name = name;
    options.dimension = dimension;
    options.index = index;
    return ReasonOf(db()->CreateCollection(options).status());
  };
  EXPECT_EQ(reason("", 2, {}), "BAD_NAME");
  EXPECT_EQ(reason("Upper", 2, {}), "BAD_NAME");
  EXPECT_EQ(reason("-dash", 2, {}), "BAD_NAME");
  EXPECT_EQ(reason(std::string(65, 'a'), 2, {}), "BAD_NAME");
  EXPECT_EQ(reason("ok", 0, {}), "BAD_DIMENSION");
  EXPECT_EQ(reason("ok", 4097, {}), "BAD_DIMENSION");
  IndexOptions index;
  index.hnsw_m = 3;
  EXPECT_EQ(reason("ok", 2, index), "BAD_INDEX");
  index = {};
  index.target_recall = 1.5f;
  EXPECT_EQ(reason("ok", 2, index), "BAD_INDEX");
  index = {};
  index.pq_bytes = 1;  // of kind AUTO
  EXPECT_EQ(reason("ok", 2, index), "BAD_INDEX");
  index.kind = IndexKind::kIvf;
  index.pq_bytes = 4;  // 1, 2, 3 and 6 divide 6
  EXPECT_EQ(reason("ok", 6, index), "BAD_INDEX");
  index.pq_bytes = -2;
  EXPECT_EQ(reason("ok", 6, index), "BAD_INDEX");
  index.pq_bytes = 0;
  index.memory_bytes = 1 << 20;  // not of kind AUTO
  EXPECT_EQ(reason("ok", 6, index), "BAD_INDEX");
}

TEST_P(ConformanceTest, WaitForVersionWaitsUntilItIsThere) {
  const uint64_t version = db()->version();
  EXPECT_TRUE(db()->WaitForVersion(version, absl::InfinitePast()).ok());
  if (GetParam().differences.versions_are_times) {
    constexpr uint64_t kSecond = uint64_t{1000} << 18;
    const absl::Time start = absl::Now();
    const absl::Status late =
        db()->WaitForVersion(version + 3600 * kSecond, start + absl::Seconds(1));
    EXPECT_EQ(ReasonOf(late), "VERSION_NOT_REACHED") << late;
    EXPECT_LT(absl::Now() - start, absl::Seconds(2));
    const uint64_t soon =
        (static_cast<uint64_t>(absl::ToUnixMillis(absl::Now())) << 18) + kSecond / 2;
    EXPECT_TRUE(db()->WaitForVersion(soon, absl::Now() + absl::Seconds(10)).ok());
    EXPECT_GE(db()->version(), soon);
    UpsertOk({Item("a", Near(0, 0))});
    EXPECT_GT(db()->version(), soon);
    return;
  }
  EXPECT_EQ(db()->WaitForVersion(version + 1, absl::Now() + absl::Milliseconds(20)).code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(db()->WaitForVersion(version + 1, absl::InfinitePast()).code(),
            absl::StatusCode::kDeadlineExceeded);
  UpsertOk({Item("a", Near(0, 0))});
  EXPECT_TRUE(db()->WaitForVersion(version + 1, absl::InfiniteFuture()).ok());
}

INSTANTIATE_TEST_SUITE_P(Kinds, ConformanceTest, ::testing::ValuesIn(Backends()),
                         [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace imagesearch::index
