// A collection on disk, queried along its first axis.
#ifndef IMAGESEARCH_TESTS_INDEX_RANK_FIXTURE_H_
#define IMAGESEARCH_TESTS_INDEX_RANK_FIXTURE_H_

#include <cmath>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gtest/gtest.h"
#include "index/embedded_database.h"
#include "index/filter/field_path.h"
#include "index/rank/ranked_search.h"
#include "tests/index/temp_dir.h"

namespace imagesearch::index {

class RankTest : public ::testing::Test {
 protected:
  static constexpr int kDimension = 8;

  RankTest() {
    EmbeddedOptions options;
    options.data_dir = dir_.path();
    options.build_threads = 1;
    auto database = OpenEmbedded(options);
    EXPECT_TRUE(database.ok()) << database.status();
    database_ = *std::move(database);
    CollectionOptions collection;
    collection.name = "test";
    collection.dimension = kDimension;
    EXPECT_TRUE(database_->CreateCollection(collection).ok());
    collection_ = *database_->GetCollection("test");
  }
  ~RankTest() override {
    collection_ = nullptr;
    EXPECT_TRUE(database_->Close(absl::InfinitePast()).ok());
  }

  // An image whose cosine to the query (1, 0, 0, ...) is `score`; the rest of it points along
  // `axis`.
  static UpsertItem Item(const std::string& id, float score, int axis = 1) {
    UpsertItem item;
    item.id = id;
    item.vector = std::vector<float>(kDimension, 0.0f);
    (*item.vector)[0] = score;
    (*item.vector)[axis] = std::sqrt(1 - score * score);
    item.metadata.emplace();
    return item;
  }
  static google::protobuf::Value& Field(UpsertItem& item, const std::string& name) {
    return (*item.metadata->mutable_fields())[name];
  }
  static UpsertItem WithText(const std::string& id, float score, const std::string& field,
                             const std::string& text) {
    UpsertItem item = Item(id, score);
    if (!text.empty()) Field(item, field).set_string_value(text);
    return item;
  }

  void Store(std::vector<UpsertItem> items) {
    auto result = collection_->Upsert(std::move(items), {});
    ASSERT_TRUE(result.ok()) << result.status();
    for (const UpsertItemResult& item : result->items) ASSERT_TRUE(item.status.ok());
  }

  static RankedQuery Ask(int limit, int offset = 0) {
    RankedQuery ranked;
    ranked.query.vector.assign(kDimension, 0.0f);
    ranked.query.vector[0] = 1;
    ranked.query.limit = limit;
    ranked.query.offset = offset;
    return ranked;
  }
  static RankedQuery AskGroups(const std::string& field, int per_group, int limit, int offset = 0) {
    RankedQuery ranked = Ask(limit, offset);
    ranked.group = {*ParseFieldPath(field), field, per_group};
    return ranked;
  }

  std::vector<std::string> Ids(const RankedQuery& ranked) {
    auto result = SearchRanked(*collection_, backgrounds_, ranked);
    EXPECT_TRUE(result.ok()) << result.status();
    std::vector<std::string> ids;
    if (!result.ok()) return ids;
    for (const RankedHit& hit : result->hits) ids.push_back(hit.hit.id);
    return ids;
  }

  TempDir dir_;
  std::unique_ptr<Database> database_;
  std::shared_ptr<Collection> collection_;
  Backgrounds backgrounds_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_TESTS_INDEX_RANK_FIXTURE_H_
