// A reader on the writer's folder: equal after catching up, of one version all the while, soon
// there, and back on its feet after everything that a writer does to the files.
#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <random>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "google/protobuf/util/message_differencer.h"
#include "gtest/gtest.h"
#include "index/embedded_database.h"
#include "index/reader_database.h"
#include "index/store/rocks_store.h"
#include "tests/index/temp_dir.h"

namespace imagesearch::index {
namespace {

constexpr int kDimension = 64;

// A vector that tells its number: searching for it finds it with score 1, and `n` in its metadata
// must be the same.
std::vector<float> VectorOf(uint64_t number) {
  std::mt19937_64 random(number);
  std::normal_distribution<float> normal;
  std::vector<float> vector(kDimension);
  for (float& x : vector) x = normal(random);
  return vector;
}

UpsertItem ItemOf(const std::string& id, uint64_t number) {
  UpsertItem item;
  item.id = id;
  item.vector = VectorOf(number);
  item.metadata.emplace();
  (*item.metadata->mutable_fields())["n"].set_number_value(static_cast<double>(number));
  (*item.metadata->mutable_fields())["odd"].set_bool_value(number % 2 == 1);
  return item;
}

double NumberIn(const google::protobuf::Struct& metadata) {
  return metadata.fields().at("n").number_value();
}

class ReaderTest : public ::testing::Test {
 protected:
  ReaderTest() {
    options_.data_dir = directory_.path() + "/data";
    options_.merge_tail_rows = 300;
    options_.min_indexed_rows = 200;
    options_.build_threads = 1;
    options_.disk_reserve_bytes = 1;  // small memtables: they are flushed again and again
  }

  void OpenWriter() {
    auto opened = OpenEmbedded(options_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    writer_ = *std::move(opened);
  }
  void CloseWriter() {
    ASSERT_TRUE(writer_->Close(absl::InfiniteFuture()).ok());
    writer_ = nullptr;
  }
  void OpenTheReader(absl::Duration poll) {
    ReaderOptions options;
    options.embedded = options_;
    options.embedded.on_progress = [this](const std::string& what) {
      MutexLock lock(&mutex_);
      progress_.push_back(what);
    };
    options.poll = poll;
    auto opened = OpenReader(options);
    ASSERT_TRUE(opened.ok()) << opened.status();
    reader_ = *std::move(opened);
  }
  int Told(const std::string& what) {
    MutexLock lock(&mutex_);
    return static_cast<int>(std::count(progress_.begin(), progress_.end(), what));
  }

  void Create(const std::string& name) {
    CollectionOptions options;
    options.name = name;
    options.dimension = kDimension;
    ASSERT_TRUE(writer_->CreateCollection(options).ok());
  }
  std::shared_ptr<Collection> Written(const std::string& name) {
    return *writer_->GetCollection(name);
  }
  std::shared_ptr<Collection> Read(const std::string& name) {
    auto found = reader_->GetCollection(name);
    EXPECT_TRUE(found.ok()) << found.status();
    return found.ok() ? *found : nullptr;
  }

  void ExpectCaughtUp() {
    ASSERT_TRUE(reader_->WaitForVersion(writer_->version(), absl::Now() + absl::Seconds(60)).ok());
  }

  // Every record, every filter's count and a few exact searches agree.
  void ExpectEqual(const std::string& name) {
    ExpectCaughtUp();
    const auto writer = Written(name);
    const auto reader = Read(name);
    ASSERT_NE(reader, nullptr);
    ListOptions list;
    list.page_size = 100'000;
    auto wanted = writer->List(list), got = reader->List(list);
    ASSERT_TRUE(wanted.ok() && got.ok()) << wanted.status() << got.status();
    ASSERT_EQ(got->records.size(), wanted->records.size());
    for (size_t i = 0; i < wanted->records.size(); ++i) {
      const Record &a = wanted->records[i], &b = got->records[i];
      EXPECT_EQ(b.id, a.id);
      EXPECT_EQ(b.version, a.version);
      EXPECT_EQ(b.vector, a.vector) << a.id;
      EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(b.metadata, a.metadata))
          << a.id;
    }
    EXPECT_EQ(reader->Info().stored_bytes, writer->Info().stored_bytes);
    for (const char* filter : {"", "odd = true", "n < 5000", "NOT odd = true AND n >= 100"}) {
      auto a = writer->Count(filter), b = reader->Count(filter);
      ASSERT_TRUE(a.ok() && b.ok()) << filter << a.status() << b.status();
      EXPECT_EQ(b->count, a->count) << filter;
    }
    for (uint64_t seed : {1, 2, 3}) {
      Query query;
      query.vector = VectorOf(1'000'000 + seed);
      query.limit = 20;
      query.exact = true;
      query.filter = seed == 3 ? "odd = true" : "";
      auto a = writer->Search(query), b = reader->Search(query);
      ASSERT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
      ASSERT_EQ(b->hits.size(), a->hits.size());
      for (size_t i = 0; i < a->hits.size(); ++i) {
        EXPECT_EQ(b->hits[i].id, a->hits[i].id);
        EXPECT_EQ(b->hits[i].score, a->hits[i].score);
      }
    }
  }

  TempDir directory_;
  EmbeddedOptions options_;
  std::unique_ptr<Database> writer_;
  std::unique_ptr<Database> reader_;
  Mutex mutex_;
  std::vector<std::string> progress_;
};

TEST_F(ReaderTest, WaitsForAFolderThatNoWriterHasMade) {
  std::thread late([&] {
    absl::SleepFor(absl::Milliseconds(500));
    OpenWriter();
    Create("a");
  });
  OpenTheReader(absl::Milliseconds(5));
  late.join();
  ExpectCaughtUp();
  EXPECT_TRUE(reader_->GetCollection("a").ok());
  EXPECT_EQ(reader_->instance_id(), writer_->instance_id());
}

TEST_F(ReaderTest, CancelledWhileWaiting) {
  ReaderOptions options;
  options.embedded = options_;
  options.cancelled = std::make_shared<std::atomic<bool>>(true);
  EXPECT_EQ(OpenReader(options).status().code(), absl::StatusCode::kCancelled);
}

TEST_F(ReaderTest, RefusesWrites) {
  OpenWriter();
  Create("a");
  OpenTheReader(absl::Milliseconds(5));
  const auto collection = Read("a");
  EXPECT_EQ(ReasonOf(collection->Upsert({ItemOf("x", 1)}, {}).status()), "READ_ONLY");
  EXPECT_EQ(ReasonOf(collection->Delete({"x"}).status()), "READ_ONLY");
  EXPECT_EQ(ReasonOf(collection->DeleteByFilter("n = 1").status()), "READ_ONLY");
  EXPECT_EQ(ReasonOf(reader_->DeleteCollection("a").status()), "READ_ONLY");
  EXPECT_EQ(ReasonOf(reader_->CreateCollection({}).status()), "READ_ONLY");
}

TEST_F(ReaderTest, FollowsCollectionsThatComeAndGo) {
  OpenWriter();
  Create("a");
  OpenTheReader(absl::Milliseconds(5));
  const auto a = Read("a");
  Create("b");
  ASSERT_TRUE(Written("b")->Upsert({ItemOf("x", 1)}, {}).ok());
  ASSERT_TRUE(writer_->DeleteCollection("a").ok());
  Create("a");  // another one of that name
  ASSERT_TRUE(Written("a")->Upsert({ItemOf("y", 2)}, {}).ok());
  ExpectEqual("a");
  ExpectEqual("b");
  EXPECT_EQ(ReasonOf(a->Count("").status()), "NO_SUCH_COLLECTION");
  // Aliases and settings too.
  ASSERT_TRUE(writer_->SetAlias("current", "b").ok());
  CollectionUpdate update;
  update.quota = Quota{.max_images = 7};
  ASSERT_TRUE(writer_->UpdateCollection("b", update).ok());
  ExpectCaughtUp();
  ASSERT_TRUE(reader_->GetCollection("current").ok());
  EXPECT_EQ(Read("current")->Info().options.quota.max_images, 7u);
}

// Behind a balancer a client makes a collection through one replica and asks the next one for it.
TEST_F(ReaderTest, ACollectionIsKnownOnceItsCreationWasAcknowledged) {
  OpenWriter();
  Create("first");
  OpenTheReader(absl::Milliseconds(100));
  for (int i = 0; i < 10; ++i) {
    const std::string name = absl::StrCat("c", i);
    Create(name);
    ASSERT_TRUE(reader_->GetCollection(name).ok()) << name;
  }
  ASSERT_TRUE(writer_->SetAlias("current", "c3").ok());
  EXPECT_TRUE(reader_->GetCollection("current").ok());
  EXPECT_EQ(ReasonOf(reader_->GetCollection("none").status()), "NO_SUCH_COLLECTION");
}

// Writes, overwrites, metadata updates, deletes, merges, flushes and restarts of the writer at
// random; meanwhile every answer of the reader is of one version: vector and metadata of a hit
// belong together, and the hit satisfies the filter.
TEST_F(ReaderTest, RandomWritesEndEqualAndAreSeenWhole) {
  OpenWriter();
  Create("a");
  OpenTheReader(absl::Milliseconds(2));
  std::atomic<bool> stop{false};
  std::atomic<int> answers{0};
  std::thread searcher([&] {
    std::mt19937_64 random(7);
    const auto collection = Read("a");
    while (!stop.load()) {
      Query query;
      query.vector = VectorOf(random() % 20'000);
      query.limit = 5;
      query.with_metadata = query.with_vector = true;
      query.filter = "odd = true";
      auto result = collection->Search(query);
      ASSERT_TRUE(result.ok()) << result.status();
      for (const Hit& hit : result->hits) {
        const auto number = static_cast<uint64_t>(NumberIn(hit.metadata));
        EXPECT_EQ(number % 2, 1u);
        const std::vector<float> vector = VectorOf(number);
        double dot = 0, norm = 0;
        for (int i = 0; i < kDimension; ++i) {
          dot += double{vector[i]} * hit.vector[i];
          norm += double{vector[i]} * vector[i];
        }
        EXPECT_NEAR(dot / std::sqrt(norm), 1, 1e-4) << hit.id << " of another version";
      }
      answers.fetch_add(1);
    }
  });
  std::mt19937_64 random(1);
  for (int round = 0; round < 160; ++round) {
    const auto collection = Written("a");
    std::vector<UpsertItem> items;
    for (int i = 0; i < 150; ++i) {
      items.push_back(ItemOf(absl::StrCat("id", random() % 6000), random() % 20'000));
    }
    auto upserted = collection->Upsert(std::move(items), {});
    ASSERT_TRUE(upserted.ok()) << upserted.status();
    std::vector<std::string> ids;
    for (int i = 0; i < 20; ++i) ids.push_back(absl::StrCat("id", random() % 6000));
    ASSERT_TRUE(collection->Delete(ids).ok());
    // Metadata only: `n` stays true to the vector, a field beside it changes.
    const std::string id = absl::StrCat("id", random() % 6000);
    auto record = collection->Get({id}, false);
    ASSERT_TRUE(record.ok());
    if ((*record)[0]) {
      UpsertItem update;
      update.id = id;
      update.metadata = (*record)[0]->metadata;
      (*update.metadata->mutable_fields())["round"].set_number_value(round);
      ASSERT_TRUE(collection->Upsert({update}, {}).ok());
    }
    if (round % 40 == 39) {
      CloseWriter();
      OpenWriter();
    }
    if (round % 53 == 52) {
      ASSERT_TRUE(Written("a")->Optimize().ok());
    }
  }
  stop = true;
  searcher.join();
  EXPECT_GT(answers.load(), 20);
  ExpectEqual("a");
  EXPECT_EQ(Told("loading collection 'a'"), 1) << "it had to load everything anew";
  // And a fresh reader finds the same.
  reader_ = nullptr;
  OpenTheReader(absl::Milliseconds(2));
  ExpectEqual("a");
}

TEST_F(ReaderTest, TakesTheWritersSegmentsOver) {
  OpenWriter();
  Create("a");
  OpenTheReader(absl::Milliseconds(5));
  std::vector<UpsertItem> items;
  for (int i = 0; i < 1000; ++i) items.push_back(ItemOf(absl::StrCat("id", i), i));
  ASSERT_TRUE(Written("a")->Upsert(std::move(items), {}).ok());
  ASSERT_TRUE(Written("a")->Optimize().ok());
  ASSERT_TRUE(Written("a")->Upsert({ItemOf("later", 5), ItemOf("id7", 8)}, {}).ok());
  ExpectEqual("a");
  const absl::Time until = absl::Now() + absl::Seconds(60);
  while (Read("a")->Info().segments == 0 && absl::Now() < until) {
    absl::SleepFor(absl::Milliseconds(20));
  }
  EXPECT_EQ(Read("a")->Info().segments, 1u);
  EXPECT_LT(Read("a")->Info().tail_rows, 200u);
  ExpectEqual("a");
  ASSERT_TRUE(Written("a")->Upsert({ItemOf("id3", 900), ItemOf("last", 11)}, {}).ok());
  ASSERT_TRUE(Written("a")->Delete({"later", "id500"}).ok());
  ExpectEqual("a");
}

TEST_F(ReaderTest, LoadsEverythingAnewWhenChangeRecordsAreGone) {
  OpenWriter();
  Create("a");
  ASSERT_TRUE(Written("a")->Upsert({ItemOf("first", 1)}, {}).ok());
  OpenTheReader(absl::Seconds(3));
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(Written("a")->Upsert({ItemOf(absl::StrCat("id", i % 7), i)}, {}).ok());
  }
  const uint64_t version = writer_->version();
  CloseWriter();
  {
    StoreOptions store;
    store.data_dir = options_.data_dir;
    store.env = rocksdb::Env::Default();
    auto opened = RocksStore::Open(store);
    ASSERT_TRUE(opened.ok()) << opened.status();
    ASSERT_TRUE((*opened)->TrimChanges(version).ok());
    ASSERT_TRUE((*opened)->Close().ok());
  }
  OpenWriter();
  Create("b");
  ExpectEqual("a");
  EXPECT_TRUE(reader_->GetCollection("b").ok());
  EXPECT_EQ(Told("loading collection 'a'"), 2);
}

// 1,000 vectors a second for four seconds: each is in the reader within a second of its
// acknowledgement, and staleness() bounds what is seen.
TEST_F(ReaderTest, StaysWithinASecondOfTheWriterAt1000VectorsASecond) {
  OpenWriter();
  Create("a");
  OpenTheReader(absl::Milliseconds(20));
  absl::Duration worst, worst_told;
  const absl::Time begin = absl::Now();
  Mutex mutex;
  std::map<uint64_t, absl::Time> acked;  // guarded by mutex
  std::atomic<bool> done{false};
  std::thread watcher([&] {
    while (true) {
      const bool last = done.load();
      worst_told = std::max(worst_told, dynamic_cast<Follower&>(*reader_).staleness());
      const uint64_t seen = reader_->version();
      {
        MutexLock lock(&mutex);
        while (!acked.empty() && acked.begin()->first <= seen) {
          worst = std::max(worst, absl::Now() - acked.begin()->second);
          acked.erase(acked.begin());
        }
        if (last && acked.empty()) return;
      }
      absl::SleepFor(absl::Milliseconds(1));
    }
  });
  uint64_t number = 0;
  for (int batch = 0; batch < 400; ++batch) {
    std::vector<UpsertItem> items;
    for (int i = 0; i < 10; ++i, ++number) items.push_back(ItemOf(absl::StrCat(number), number));
    auto written = Written("a")->Upsert(std::move(items), {});
    ASSERT_TRUE(written.ok()) << written.status();
    {
      MutexLock lock(&mutex);
      acked[written->version] = absl::Now();
    }
    absl::SleepFor(begin + absl::Milliseconds(10) * (batch + 1) - absl::Now());
  }
  const absl::Duration took = absl::Now() - begin;
  done = true;
  watcher.join();
  RecordProperty("vectors_a_second", absl::StrCat(4000 / absl::ToDoubleSeconds(took)));
  RecordProperty("worst_ms", absl::StrCat(absl::ToDoubleMilliseconds(worst)));
  RecordProperty("worst_told_ms", absl::StrCat(absl::ToDoubleMilliseconds(worst_told)));
  // On a machine so loaded that the writer itself can't keep the pace, the figures say nothing.
  if (took < absl::Seconds(4.4)) {
    EXPECT_LT(worst, absl::Seconds(1));
    EXPECT_LT(worst_told, absl::Seconds(1));
  }
  ExpectEqual("a");
}

}  // namespace
}  // namespace imagesearch::index
