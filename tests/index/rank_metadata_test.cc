// Relevance, words and value counts over a real collection, and over one that has no such indexes.
#include <algorithm>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "index/rank/facets.h"
#include "tests/index/rank_fixture.h"

namespace imagesearch::index {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

// Everything that an engine has to have, and nothing else.
class BareCollection : public Collection {
 public:
  explicit BareCollection(std::shared_ptr<Collection> inner) : inner_(std::move(inner)) {}
  CollectionOptions options() const override { return inner_->options(); }
  CollectionInfo Info() const override { return inner_->Info(); }
  absl::StatusOr<UpsertResult> Upsert(std::vector<UpsertItem> items,
                                      const UpsertOptions& options) override {
    return inner_->Upsert(std::move(items), options);
  }
  absl::StatusOr<DeleteResult> Delete(absl::Span<const std::string> ids) override {
    return inner_->Delete(ids);
  }
  absl::StatusOr<DeleteResult> DeleteByFilter(const std::string& filter) override {
    return inner_->DeleteByFilter(filter);
  }
  absl::StatusOr<SearchResult> Search(const Query& query) override { return inner_->Search(query); }
  std::vector<absl::StatusOr<SearchResult>> SearchBatch(absl::Span<const Query> queries) override {
    return inner_->SearchBatch(queries);
  }
  absl::StatusOr<std::vector<std::optional<Record>>> Get(absl::Span<const std::string> ids,
                                                         bool with_vector) override {
    return inner_->Get(ids, with_vector);
  }
  absl::StatusOr<CountResult> Count(const std::string& filter) override {
    return inner_->Count(filter);
  }
  absl::StatusOr<ListPage> List(const ListOptions& options) override {
    return inner_->List(options);
  }
  absl::Status Optimize() override { return inner_->Optimize(); }

 private:
  const std::shared_ptr<Collection> inner_;
};

class MetadataTest : public RankTest {
 protected:
  // Images of random direction, which the query has nothing to do with.
  void StoreBackground(int count, const std::string& prefix = "noise") {
    std::mt19937 random(7);
    std::normal_distribution<float> normal;
    std::vector<UpsertItem> items;
    for (int i = 0; i < count; ++i) {
      UpsertItem item;
      item.id = absl::StrCat(prefix, i);
      item.vector.emplace();
      for (int d = 0; d < kDimension; ++d) {
        item.vector->push_back(normal(random) * (d == 0 ? 0.3f : 1.0f));
      }
      items.push_back(std::move(item));
    }
    Store(std::move(items));
  }
  RankedResult Ranked(const RankedQuery& ranked) {
    auto result = SearchRanked(*collection_, backgrounds_, ranked);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *std::move(result) : RankedResult();
  }
  static RankedQuery AskRelevance(int limit, float least = 0) {
    RankedQuery ranked = Ask(limit);
    ranked.relevance = true;
    ranked.min_relevance = least;
    return ranked;
  }
  static RankedQuery AskWords(const std::string& words, float weight = 1) {
    RankedQuery ranked = Ask(20);
    ranked.keywords.emplace();
    ranked.keywords->text = words;
    ranked.keywords->weight = weight;
    return ranked;
  }
  std::vector<std::string> Counts(const std::string& field, const std::string& filter = "",
                                  size_t limit = 10) {
    BareCollection bare(collection_);
    std::vector<std::string> texts;
    for (Collection* collection : {collection_.get(), static_cast<Collection*>(&bare)}) {
      auto counts = CountValuesOf(*collection, filter, *ParseFieldPath(field), limit);
      EXPECT_TRUE(counts.ok()) << counts.status();
      std::vector<std::string> these;
      for (const ValueCount& count : *counts) {
        const auto& value = count.value;
        these.push_back(absl::StrCat(value.has_string_value()   ? value.string_value()
                                     : value.has_number_value() ? absl::StrCat(value.number_value())
                                     : value.bool_value()       ? "true"
                                                                : "false",
                                     " ", count.count));
      }
      if (collection != collection_.get()) EXPECT_EQ(these, texts) << "by listing";
      texts = std::move(these);
    }
    return texts;
  }
};

TEST_F(MetadataTest, RelevanceTellsAMatchFromTheBestOfTheRest) {
  StoreBackground(2000);
  const RankedResult before = Ranked(AskRelevance(3));
  ASSERT_EQ(before.hits.size(), 3u);
  EXPECT_LT(*before.hits[0].relevance, 0.9f);
  EXPECT_GE(*before.hits[0].relevance, *before.hits[1].relevance);
  Store({Item("match", 0.99f)});
  const RankedResult after = Ranked(AskRelevance(3));
  EXPECT_EQ(after.hits[0].hit.id, "match");
  EXPECT_GT(*after.hits[0].relevance, 0.9f);
  EXPECT_NEAR(*after.hits[1].relevance, *before.hits[0].relevance, 0.1f);
}

TEST_F(MetadataTest, ACutMayLeaveNothing) {
  StoreBackground(2000);
  EXPECT_THAT(Ids(AskRelevance(10, 0.95f)), IsEmpty());
  Store({Item("match", 0.99f)});
  EXPECT_THAT(Ids(AskRelevance(10, 0.95f)), ElementsAre("match"));
  RankedQuery grouped = AskGroups("album", 1, 5);
  grouped.relevance = true;
  grouped.min_relevance = 0.95f;
  EXPECT_THAT(Ids(grouped), ElementsAre("match"));
}

// The tail of bounded cosines is shorter than the exponential: the fit errs on the strict side.
TEST_F(MetadataTest, TheBestOfUnrelatedImagesIsNoMatch) {
  StoreBackground(3000);
  std::mt19937 random(3);
  std::normal_distribution<float> normal;
  std::vector<float> best;
  for (int i = 0; i < 60; ++i) {
    RankedQuery ranked = AskRelevance(1);
    double norm = 0;
    for (float& value : ranked.query.vector) {
      value = normal(random);
      norm += value * value;
    }
    for (float& value : ranked.query.vector) value /= std::sqrt(norm);
    best.push_back(*Ranked(ranked).hits[0].relevance);
  }
  std::sort(best.begin(), best.end());
  EXPECT_LT(best[54], 0.5f);  // nine in ten
}

// A query that suits a sixth of the collection: those images are in the sample too.
TEST_F(MetadataTest, ManyMatchesDoNotHideEachOther) {
  StoreBackground(1500);
  std::vector<UpsertItem> items;
  for (int i = 0; i < 300; ++i) {
    items.push_back(Item(absl::StrCat("match", i), 0.985f + 0.00004f * i, 1 + i % 7));
  }
  Store(std::move(items));
  const RankedResult result = Ranked(AskRelevance(300, 0.5f));
  EXPECT_GT(result.hits.size(), 250u);
  for (const RankedHit& hit : result.hits) EXPECT_EQ(hit.hit.id.substr(0, 5), "match");
}

TEST_F(MetadataTest, TooFewImagesHaveNoRelevanceAndAreAllKept) {
  StoreBackground(31);
  const RankedResult result = Ranked(AskRelevance(40, 0.99f));
  EXPECT_EQ(result.hits.size(), 31u);
  EXPECT_FALSE(result.hits[0].relevance.has_value());
  Store({Item("one more", 0.5f)});  // a sample of all is taken anew at once
  EXPECT_TRUE(Ranked(AskRelevance(1)).hits[0].relevance.has_value());
}

TEST_F(MetadataTest, ALargeCollectionIsSampledAgainAfterAWhile) {
  absl::Time now = absl::UnixEpoch();
  Backgrounds backgrounds([&now] { return now; });
  StoreBackground(600);
  const auto first = *backgrounds.Get(*collection_, 10);
  EXPECT_EQ(first->rows(), Background::kSample);
  Store({Item("more", 0.5f)});
  EXPECT_EQ(*backgrounds.Get(*collection_, 11), first);
  now += absl::Seconds(3);
  const auto second = *backgrounds.Get(*collection_, 11);
  EXPECT_NE(second, first);
  now += absl::Seconds(3);
  EXPECT_EQ(*backgrounds.Get(*collection_, 11), second);
  // Another collection changed: this one's sample stays.
  EXPECT_EQ(*backgrounds.Get(*collection_, 12), second);
}

TEST_F(MetadataTest, SamplesAreLiveImagesWithoutRepetition) {
  StoreBackground(3000);
  ASSERT_TRUE(collection_->Optimize().ok());
  StoreBackground(100, "tail");
  std::vector<std::string> gone;
  for (int i = 0; i < 1500; ++i) gone.push_back(absl::StrCat("noise", i));
  ASSERT_TRUE(collection_->Delete(gone).ok());
  for (const size_t n : {size_t{10}, size_t{200}, size_t{5000}}) {
    auto sample = collection_->Sample(n);
    ASSERT_TRUE(sample.ok());
    EXPECT_EQ(sample->live, 1600u);
    ASSERT_EQ(sample->vectors.size(), std::min<size_t>(n, 1600) * kDimension);
    EXPECT_EQ(collection_->Sample(n)->vectors, sample->vectors);
    // tail0 ... tail99 equal noise0 ... noise99, which are gone: no vector comes twice.
    std::set<std::vector<float>> rows;
    for (size_t i = 0; i < sample->vectors.size(); i += kDimension) {
      rows.insert({sample->vectors.begin() + i, sample->vectors.begin() + i + kDimension});
    }
    EXPECT_EQ(rows.size(), sample->vectors.size() / kDimension);
  }
}

TEST_F(MetadataTest, EnginesWithoutSamplesOrWordsAreServedAsFarAsTheyCan) {
  StoreBackground(100);
  BareCollection bare(collection_);
  auto result = SearchRanked(bare, backgrounds_, AskRelevance(5));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_TRUE(result->hits[0].relevance.has_value());
  EXPECT_EQ(ReasonOf(SearchRanked(bare, backgrounds_, AskWords("x")).status()), "NO_KEYWORDS");
}

TEST_F(MetadataTest, WordsAndVectorsMakeOneRanking) {
  Store({WithText("near", 0.9f, "title", ""), WithText("both", 0.8f, "title", "red boat"),
         WithText("word", 0.1f, "title", "red"), WithText("far", 0.05f, "title", "sea")});
  // By rank: near 1/61, both 1/62 + 1/61 (two words), word 1/63 + 1/62, far 1/64.
  EXPECT_THAT(Ids(AskWords("RED boat")), ElementsAre("both", "word", "near", "far"));
  const RankedResult result = Ranked(AskWords("red boat"));
  EXPECT_NEAR(result.hits[0].order, 1.0 / 62 + 1.0 / 61, 1e-12);
  EXPECT_GT(*result.hits[0].keyword_score, *result.hits[1].keyword_score);
  EXPECT_FALSE(result.hits[2].keyword_score.has_value());
  EXPECT_NEAR(result.hits[1].hit.score, 0.1f, 1e-6);
  EXPECT_THAT(Ids(AskWords("red boat", 0.001f)), ElementsAre("near", "both", "word", "far"));
  RankedQuery filtered = AskWords("red boat");
  filtered.query.filter = "title = \"red\"";
  EXPECT_THAT(Ids(filtered), ElementsAre("word"));
  filtered = AskWords("red boat");
  filtered.query.min_score = 0.5f;
  EXPECT_THAT(Ids(filtered), ElementsAre("both", "near"));
  filtered.query.limit = 1;
  filtered.query.offset = 1;
  EXPECT_THAT(Ids(filtered), ElementsAre("near"));
}

TEST_F(MetadataTest, AnImageBeyondTheNearestWindowIsFoundByItsWords) {
  StoreBackground(kWindow + 500);
  Store({WithText("hidden", -0.99f, "title", "Zanzibar")});
  RankedQuery ranked = AskWords("zanzibar");
  ranked.query.limit = 2;
  ranked.query.with_vector = true;
  const RankedResult result = Ranked(ranked);
  ASSERT_EQ(result.hits.size(), 2u);
  // First by words and first by cosine tie; the id decides.
  EXPECT_EQ(result.hits[0].hit.id, "hidden");
  EXPECT_NEAR(result.hits[0].hit.score, -0.99f, 1e-5);
  EXPECT_EQ(result.hits[0].hit.vector.size(), size_t{kDimension});
}

// Such a hit came without its hashes, so that its duplicates stayed beside it.
TEST_F(MetadataTest, AHitOfWordsAloneIsFoldedToo) {
  std::vector<UpsertItem> items;
  for (int i = 0; i < 1100; ++i) items.push_back(Item(absl::StrCat("near", 10000 + i), 0.9f));
  for (const char* id : {"far a", "far b", "far c"}) {
    items.push_back(WithText(id, 0.1f, "text", "harbour"));
    items.back().content_hash = std::string(64, id[4] == 'c' ? 'c' : 'a');
  }
  Store(items);
  RankedQuery ranked = AskWords("harbour", 100);
  ranked.collapse = DuplicateTier::kSameBytes;
  const RankedResult result = Ranked(ranked);
  ASSERT_GE(result.hits.size(), 2u);
  EXPECT_EQ(result.hits[0].hit.id, "far a");
  ASSERT_EQ(result.hits[0].duplicates.size(), 1u);
  EXPECT_EQ(result.hits[0].duplicates[0].id, "far b");
  EXPECT_EQ(result.hits[1].hit.id, "far c");
}

TEST_F(MetadataTest, WordsFollowTheWrites) {
  Store({WithText("a", 0.9f, "title", "boat"), WithText("b", 0.8f, "title", "boat")});
  const auto with_words = [&](const std::string& words) {
    std::vector<std::string> ids;
    KeywordQuery query;
    query.text = words;
    auto found = collection_->SearchKeywords(query);
    EXPECT_TRUE(found.ok()) << found.status();
    for (const KeywordHit& hit : found->hits) ids.push_back(hit.id);
    std::sort(ids.begin(), ids.end());
    return ids;
  };
  EXPECT_THAT(with_words("boat"), ElementsAre("a", "b"));
  Store({WithText("c", 0.7f, "title", "boat"), WithText("b", 0.8f, "title", "car")});
  EXPECT_THAT(with_words("boat"), ElementsAre("a", "c"));
  UpsertItem update;  // metadata only
  update.id = "a";
  update.metadata.emplace();
  Field(update, "title").set_string_value("plane");
  Store({update});
  EXPECT_THAT(with_words("boat"), ElementsAre("c"));
  EXPECT_THAT(with_words("plane car"), ElementsAre("a", "b"));
  ASSERT_TRUE(collection_->Delete(std::vector<std::string>{"c"}).ok());
  EXPECT_THAT(with_words("boat"), IsEmpty());
}

// The first search fills the index while writes go on; afterwards it holds exactly what is stored.
TEST_F(MetadataTest, WordsAreCompleteWhenWritesGoOnDuringTheFirstSearch) {
  std::vector<UpsertItem> items;
  for (int i = 0; i < 4000; ++i) {
    items.push_back(WithText(absl::StrCat("i", i), 0.5f, "title", i % 2 == 0 ? "even" : "odd"));
  }
  Store(items);
  std::thread writer([&] {
    for (int round = 0; round < 40; ++round) {
      std::vector<UpsertItem> some;
      for (int i = round; i < 4000; i += 40) {
        some.push_back(WithText(absl::StrCat("i", i), 0.5f, "title",
                                round % 3 == 0 ? "changed" : (i % 2 == 0 ? "even" : "odd")));
      }
      EXPECT_TRUE(collection_->Upsert(std::move(some), {}).ok());
    }
  });
  KeywordQuery query;
  query.text = "even";
  query.limit = 10'000;
  while (absl::IsUnavailable(collection_->SearchKeywords(query).status())) {
  }
  writer.join();
  for (const char* word : {"even", "odd", "changed"}) {
    query.text = word;
    auto found = collection_->SearchKeywords(query);
    ASSERT_TRUE(found.ok());
    EXPECT_EQ(found->hits.size(), collection_->Count(absl::StrCat("title = \"", word, "\""))->count)
        << word;
  }
}

TEST_F(MetadataTest, ValuesAreCountedOverAllThatMatchTheFilter) {
  std::vector<UpsertItem> items;
  for (int i = 0; i < 30; ++i) items.push_back(Item(absl::StrCat("i", i), 0.5f));
  for (int i = 0; i < 30; ++i) {
    Field(items[i], "album").set_string_value(i < 15 ? "a" : i < 25 ? "b" : "c");
    Field(items[i], "year").set_number_value(2000 + i % 3);
    auto* tags = Field(items[i], "tags").mutable_list_value();
    tags->add_values()->set_string_value("all");
    tags->add_values()->set_string_value("all");  // counts once
    if (i < 4) tags->add_values()->set_number_value(i % 2);
  }
  for (int i = 0; i < 3; ++i) Field(items[i], "mixed").set_bool_value(i > 0);
  for (int i = 3; i < 8; ++i) Field(items[i], "mixed").set_string_value("text");
  Field(items[8], "mixed").set_null_value(google::protobuf::NULL_VALUE);
  Field(items[9], "mixed").mutable_list_value()->add_values()->set_string_value("text");
  Store(std::move(items));
  EXPECT_THAT(Counts("album"), ElementsAre("a 15", "b 10", "c 5"));
  EXPECT_THAT(Counts("album", "", 2), ElementsAre("a 15", "b 10"));
  EXPECT_THAT(Counts("album", "year = 2000"), ElementsAre("a 5", "b 4", "c 1"));
  EXPECT_THAT(Counts("year"), ElementsAre("2000 10", "2001 10", "2002 10"));
  EXPECT_THAT(Counts("tags"), ElementsAre("all 30", "0 2", "1 2"));
  EXPECT_THAT(Counts("mixed"), ElementsAre("text 6", "true 2", "false 1"));
  EXPECT_THAT(Counts("nothing"), IsEmpty());
  EXPECT_THAT(Counts("album", "year = 1999"), IsEmpty());
  ASSERT_TRUE(collection_->DeleteByFilter("album = \"a\"").ok());
  EXPECT_THAT(Counts("album"), ElementsAre("b 10", "c 5"));
}

}  // namespace
}  // namespace imagesearch::index
