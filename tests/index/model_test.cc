// Random operations with restarts against an in-memory oracle: no answer may differ.
// IMAGESEARCH_MODEL_OPS=100000 IMAGESEARCH_MODEL_SEED=7 index_model_test runs more, or one run
// again.
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "gtest/gtest.h"
#include "index/embedded_database.h"
#include "index/store/unit_vector.h"
#include "tests/index/temp_dir.h"

namespace imagesearch::index {
namespace {

constexpr int kDimension = 12;
constexpr int kIds = 400;
const absl::Time kStart = absl::FromUnixSeconds(1'700'000'000);

uint64_t FromEnvironment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text != nullptr ? std::strtoull(text, nullptr, 10) : otherwise;
}

struct Image {
  std::vector<float> vector;  // length 1
  int colour = -1;            // -1: none
  absl::Time expires = absl::InfiniteFuture();
};

class ModelTest : public ::testing::TestWithParam<IndexKind> {
 protected:
  void Open() {
    EmbeddedOptions options;
    options.data_dir = directory_.path() + "/data";
    options.merge_tail_rows = 50;
    options.min_indexed_rows = 60;
    options.build_threads = 1;
    options.disk_reserve_bytes = 1;
    options.clock = [this] { return now_; };
    auto opened = OpenEmbedded(options);
    ASSERT_TRUE(opened.ok()) << opened.status();
    database_ = *std::move(opened);
    CollectionOptions collection;
    collection.name = "c";
    collection.dimension = kDimension;
    collection.index.kind = GetParam();
    if (!database_->GetCollection("c").ok()) {
      ASSERT_TRUE(database_->CreateCollection(collection).ok());
    }
    collection_ = *database_->GetCollection("c");
  }

  int Pick(int most) { return std::uniform_int_distribution<int>(0, most - 1)(random_); }
  std::string PickId() { return absl::StrCat("id", Pick(kIds)); }
  std::vector<float> PickVector() {
    // Few directions, so that equal vectors and equal scores are common.
    std::vector<float> vector(kDimension);
    std::mt19937 direction(Pick(200));
    std::normal_distribution<float> normal;
    for (float& value : vector) value = normal(direction);
    return vector;
  }
  static google::protobuf::Struct MetadataOf(int colour) {
    google::protobuf::Struct metadata;
    if (colour >= 0) (*metadata.mutable_fields())["colour"].set_number_value(colour);
    return metadata;
  }
  void Expire() {
    for (auto at = images_.begin(); at != images_.end();) {
      at = at->second.expires <= now_ ? images_.erase(at) : std::next(at);
    }
  }

  void Upsert();
  void Delete();
  void DeleteByFilter();
  void Search();
  void CountAndGet();
  void List();
  void Restart() {
    collection_ = nullptr;
    if (Pick(2) == 0) {
      ASSERT_TRUE(database_->Close(absl::InfiniteFuture()).ok());
    }
    database_ = nullptr;
    Open();
  }

  TempDir directory_;
  absl::Time now_ = kStart;
  std::mt19937 random_;
  std::unique_ptr<Database> database_;
  std::shared_ptr<Collection> collection_;
  std::map<std::string, Image> images_;
  uint64_t version_ = 0;
};

void ModelTest::Upsert() {
  std::vector<UpsertItem> items;
  const UpsertOptions options{.create_only = Pick(5) == 0};
  std::map<std::string, Image> after = images_;
  std::vector<std::string> ids;
  for (int n = 1 + Pick(6); n > 0; --n) {
    std::string id = PickId();
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(std::move(id));
  }
  std::vector<absl::StatusCode> expected;
  for (const std::string& id : ids) {
    UpsertItem item;
    item.id = id;
    const bool exists = images_.count(id) != 0;
    const int colour = Pick(4) - 1;
    if (Pick(4) != 0) item.vector = PickVector();
    if (Pick(3) != 0) item.metadata = MetadataOf(colour);
    if (Pick(6) == 0) item.expire_time = now_ + absl::Seconds(1 + Pick(50));
    if (exists && options.create_only) {
      expected.push_back(absl::StatusCode::kAlreadyExists);
    } else if (!exists && !item.vector) {
      expected.push_back(absl::StatusCode::kNotFound);
    } else {
      expected.push_back(absl::StatusCode::kOk);
      Image& image = after[id];
      if (item.vector) {
        image = {};
        image.vector = *item.vector;
        ASSERT_TRUE(MakeUnitVector(kDimension, &image.vector).ok());
      }
      if (item.metadata) image.colour = colour;
      image.expires = item.expire_time;
    }
    items.push_back(std::move(item));
  }
  auto result = collection_->Upsert(std::move(items), options);
  ASSERT_TRUE(result.ok()) << result.status();
  for (size_t i = 0; i < ids.size(); ++i) {
    ASSERT_EQ(result->items[i].status.code(), expected[i]) << ids[i];
    ASSERT_EQ(result->items[i].created,
              expected[i] == absl::StatusCode::kOk && images_.count(ids[i]) == 0);
  }
  images_ = std::move(after);
  if (result->version != 0) {
    ASSERT_GT(result->version, version_);
    version_ = result->version;
  }
}

void ModelTest::Delete() {
  std::vector<std::string> ids;
  for (int n = 1 + Pick(4); n > 0; --n) ids.push_back(PickId());
  uint64_t expected = 0;
  for (const std::string& id : ids) expected += images_.erase(id);
  auto result = collection_->Delete(ids);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->deleted, expected);
}

void ModelTest::DeleteByFilter() {
  const int colour = Pick(3);
  uint64_t expected = 0;
  for (auto at = images_.begin(); at != images_.end();) {
    const bool match = at->second.colour == colour;
    expected += match;
    at = match ? images_.erase(at) : std::next(at);
  }
  auto result = collection_->DeleteByFilter(absl::StrCat("colour = ", colour));
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->deleted, expected);
}

void ModelTest::Search() {
  Query query;
  query.vector = PickVector();
  query.limit = 1 + Pick(20);
  query.offset = Pick(3) == 0 ? Pick(10) : 0;
  query.exact = true;
  query.with_metadata = true;
  const int colour = Pick(6) - 3;  // below 0: no filter
  if (colour >= 0) query.filter = absl::StrCat("colour = ", colour);
  std::vector<float> unit = query.vector;
  ASSERT_TRUE(MakeUnitVector(kDimension, &unit).ok());
  std::map<std::string, double> scores;
  for (const auto& [id, image] : images_) {
    if (colour >= 0 && image.colour != colour) continue;
    double score = 0;
    for (int i = 0; i < kDimension; ++i) score += double{unit[i]} * image.vector[i];
    scores[id] = score;
  }
  auto result = collection_->Search(query);
  ASSERT_TRUE(result.ok()) << result.status();
  const size_t skipped = std::min<size_t>(query.offset, scores.size());
  ASSERT_EQ(result->hits.size(), std::min<size_t>(query.limit, scores.size() - skipped));
  std::vector<double> best;
  for (const auto& [id, score] : scores) best.push_back(score);
  std::sort(best.rbegin(), best.rend());
  for (size_t i = 0; i < result->hits.size(); ++i) {
    const Hit& hit = result->hits[i];
    ASSERT_EQ(scores.count(hit.id), 1u) << hit.id << " should not be there";
    ASSERT_NEAR(hit.score, scores[hit.id], 2e-6);
    ASSERT_NEAR(hit.score, best[skipped + i], 2e-6);
    ASSERT_EQ(hit.metadata.fields().count("colour") != 0
                  ? hit.metadata.fields().at("colour").number_value()
                  : -1,
              images_[hit.id].colour);
    if (i == 0) continue;
    const Hit& before = result->hits[i - 1];
    ASSERT_TRUE(before.score > hit.score || (before.score == hit.score && before.id < hit.id));
  }
}

void ModelTest::CountAndGet() {
  const int colour = Pick(3);
  uint64_t expected = 0;
  for (const auto& [id, image] : images_) expected += image.colour == colour;
  ASSERT_EQ(collection_->Count("")->count, images_.size());
  ASSERT_EQ(collection_->Count(absl::StrCat("colour = ", colour))->count, expected);
  const std::vector<std::string> ids{PickId()};
  auto got = collection_->Get(ids, true);
  ASSERT_TRUE(got.ok()) << got.status();
  ASSERT_EQ((*got)[0].has_value(), images_.count(ids[0]) != 0);
  if ((*got)[0]) {
    ASSERT_EQ((*got)[0]->vector, images_[ids[0]].vector);
  }
}

void ModelTest::List() {
  ListOptions list;
  list.page_size = 1 + Pick(100);
  auto expected = images_.begin();
  do {
    auto page = collection_->List(list);
    ASSERT_TRUE(page.ok()) << page.status();
    for (const Record& record : page->records) {
      ASSERT_NE(expected, images_.end());
      ASSERT_EQ(record.id, expected->first);
      ASSERT_EQ(record.vector, expected->second.vector);
      ++expected;
    }
    list.page_token = page->next_page_token;
  } while (!list.page_token.empty());
  ASSERT_EQ(expected, images_.end());
}

TEST_P(ModelTest, RandomOperationsAnswerLikeTheOracle) {
  const uint64_t operations = FromEnvironment("IMAGESEARCH_MODEL_OPS", 1500);
  const uint64_t seed = FromEnvironment("IMAGESEARCH_MODEL_SEED", std::random_device()());
  std::cout << "IMAGESEARCH_MODEL_SEED=" << seed << std::endl;
  random_.seed(static_cast<uint32_t>(seed));
  Open();
  for (uint64_t i = 0; i < operations && !HasFatalFailure(); ++i) {
    SCOPED_TRACE(absl::StrCat("operation ", i));
    Expire();
    const int what = Pick(1000);
    if (what < 400) {
      Upsert();
    } else if (what < 500) {
      Delete();
    } else if (what < 503) {
      DeleteByFilter();
    } else if (what < 800) {
      Search();
    } else if (what < 940) {
      CountAndGet();
    } else if (what < 960) {
      List();
    } else if (what < 988) {
      now_ += absl::Seconds(Pick(10));
    } else if (what < 994) {
      auto status = collection_->Optimize();
      ASSERT_TRUE(status.ok()) << status;
    } else {
      Restart();
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, ModelTest,
                         ::testing::Values(IndexKind::kFlat, IndexKind::kHnsw, IndexKind::kIvf,
                                           IndexKind::kAuto),
                         [](const auto& info) {
                           return std::string(info.param == IndexKind::kFlat   ? "Flat"
                                              : info.param == IndexKind::kHnsw ? "Hnsw"
                                              : info.param == IndexKind::kIvf  ? "Ivf"
                                                                               : "Auto");
                         });

}  // namespace
}  // namespace imagesearch::index
