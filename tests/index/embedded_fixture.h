// One embedded database with one collection `pictures`, for tests of what only that engine offers.
#ifndef IMAGESEARCH_TESTS_INDEX_EMBEDDED_FIXTURE_H_
#define IMAGESEARCH_TESTS_INDEX_EMBEDDED_FIXTURE_H_

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "index/embedded_database.h"
#include "tests/index/temp_dir.h"

namespace imagesearch::index {

inline google::protobuf::Struct FromJson(const std::string& json) {
  google::protobuf::Struct result;
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(json, &result).ok()) << json;
  return result;
}

class EmbeddedFixture : public ::testing::Test {
 protected:
  static constexpr int kDimension = 4;

  EmbeddedFixture() {
    options_.data_dir = directory_.path() + "/data";
    options_.merge_tail_rows = 8;
    options_.min_indexed_rows = 4;
    options_.build_threads = 1;
    options_.disk_reserve_bytes = 1;
    options_.clock = [this] { return absl::FromUnixSeconds(1'700'000'000) + offset_; };
  }
  ~EmbeddedFixture() override { Close(); }

  void Open(const CollectionOptions& extra = {}) {
    auto opened = OpenEmbedded(options_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    database_ = *std::move(opened);
    CollectionOptions collection = extra;
    collection.name = "pictures";
    collection.dimension = kDimension;
    auto created = database_->CreateCollection(collection);
    ASSERT_TRUE(created.ok() || absl::IsAlreadyExists(created.status())) << created.status();
    collection_ = *database_->GetCollection("pictures");
  }
  void Close() {
    collection_ = nullptr;
    if (database_ == nullptr) return;
    EXPECT_TRUE(database_->Close(absl::InfiniteFuture()).ok());
    database_ = nullptr;
  }

  static UpsertItem Item(std::string id, std::vector<float> vector,
                         const std::string& metadata = "") {
    UpsertItem item;
    item.id = std::move(id);
    item.vector = std::move(vector);
    if (!metadata.empty()) item.metadata = FromJson(metadata);
    return item;
  }
  UpsertResult Upsert(std::vector<UpsertItem> items, const UpsertOptions& options = {}) {
    auto result = collection_->Upsert(std::move(items), options);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *result : UpsertResult{};
  }
  std::optional<Record> Get(const std::string& id) {
    auto result = collection_->Get(std::vector<std::string>{id}, /*with_vector=*/true);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? (*result)[0] : std::nullopt;
  }
  // The metadata as JSON; "" when there is no such image.
  std::string MetadataOf(const std::string& id) {
    std::optional<Record> record = Get(id);
    if (!record) return "";
    // Keys in order.
    std::string text = "{";
    std::map<std::string, google::protobuf::Value> fields(record->metadata.fields().begin(),
                                                          record->metadata.fields().end());
    for (const auto& [key, value] : fields) {
      std::string json;
      EXPECT_TRUE(google::protobuf::util::MessageToJsonString(value, &json).ok());
      text += (text.size() > 1 ? "," : "") + key + ":" + json;
    }
    return text + "}";
  }
  uint64_t Count(const std::string& filter = "") {
    auto result = collection_->Count(filter);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? result->count : 0;
  }

  TempDir directory_;
  EmbeddedOptions options_;
  absl::Duration offset_;
  std::unique_ptr<Database> database_;
  std::shared_ptr<Collection> collection_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_TESTS_INDEX_EMBEDDED_FIXTURE_H_
