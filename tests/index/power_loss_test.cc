// An acknowledged write survives a power loss. kill -9 can't show this (the page cache survives the
// process), so the file system below RocksDB drops what was not synced.
// IMAGESEARCH_POWER_CYCLES=500 index_power_loss_test runs the long form.
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gtest/gtest.h"
#include "index/embedded_database.h"
#include "index/store/crash_point.h"
#include "rocksdb/env.h"
#include "tests/index/power_loss_file_system.h"
#include "tests/index/temp_dir.h"
#include "tests/index/write_history.h"

namespace imagesearch::index {
namespace {

constexpr int kDimension = 16;
constexpr int kWriters = 4;

class PowerLossTest : public ::testing::Test {
 protected:
  PowerLossTest()
      : system_(std::make_shared<PowerLossFileSystem>()), env_(rocksdb::NewCompositeEnv(system_)) {
    options_.data_dir = directory_.path() + "/data";
    options_.env = env_.get();
    options_.merge_tail_rows = 40;
    options_.min_indexed_rows = 100;
    options_.build_threads = 1;
    options_.disk_reserve_bytes = 1;
  }

  void Open() {
    auto opened = OpenEmbedded(options_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    database_ = *std::move(opened);
    if (!database_->GetCollection("pictures").ok()) {
      CollectionOptions collection;
      collection.name = "pictures";
      collection.dimension = kDimension;
      collection.index.kind = IndexKind::kHnsw;
      auto created = database_->CreateCollection(collection);
      ASSERT_TRUE(created.ok()) << created.status();
    }
    collection_ = *database_->GetCollection("pictures");
  }

  void Close() {
    collection_ = nullptr;
    database_ = nullptr;
  }

  TempDir directory_;
  std::shared_ptr<PowerLossFileSystem> system_;
  std::unique_ptr<rocksdb::Env> env_;
  EmbeddedOptions options_;
  std::unique_ptr<Database> database_;
  std::shared_ptr<Collection> collection_;
};

TEST_F(PowerLossTest, TheSyncOfTheLogPrecedesEachAcknowledgement) {
  Open();
  for (int i = 0; i < 100; ++i) {
    const uint64_t syncs = system_->syncs();
    if (i % 3 == 2) {
      const std::vector<std::string> ids{absl::StrCat("i", i - 1)};
      ASSERT_EQ(collection_->Delete(ids)->deleted, 1u);
    } else {
      auto result = collection_->Upsert({ContentItem(absl::StrCat("i", i), 1, kDimension)}, {});
      ASSERT_TRUE(result.ok()) << result.status();
    }
    EXPECT_GT(system_->syncs(), syncs) << i;
    EXPECT_EQ(system_->UnsyncedBytes(".log"), 0u) << i;
  }
}

// Ends writers and power at a chosen place. The handler is a plain function, so its state is here.
std::atomic<PowerLossFileSystem*> cut_system{nullptr};
std::atomic<int> cut_after{0};
std::atomic<uint64_t> points_cut{0};

void CutAtPoint(const char*) {
  if (cut_after.fetch_sub(1) == 1) {
    cut_system.load()->Cut();
    points_cut.fetch_add(1);
  }
}

TEST_F(PowerLossTest, NothingAcknowledgedIsLostOverManyPowerLosses) {
  const char* cycles_text = std::getenv("IMAGESEARCH_POWER_CYCLES");
  const int cycles = cycles_text != nullptr ? std::atoi(cycles_text) : 20;
  const uint32_t seed = std::random_device()();
  std::cout << "seed " << seed << ", " << cycles << " cycles" << std::endl;
  std::mt19937 random(seed);
  WriteHistory history(kDimension);
  cut_system = system_.get();
  crash_handler = CutAtPoint;
  for (int cycle = 0; cycle < cycles; ++cycle) {
    SCOPED_TRACE(absl::StrCat("cycle ", cycle));
    cut_after = 0;
    Open();
    if (HasFatalFailure()) break;
    history.Check(collection_.get());
    EXPECT_GE(database_->version(), history.newest_version());
    if (HasFailure()) break;
    // Half of the cuts fall into a merge or a snapshot, half anywhere.
    if (cycle % 2 == 0) cut_after = std::uniform_int_distribution<int>(1, 8)(random);
    std::atomic<bool> stop{false};
    std::vector<std::thread> writers;
    for (int writer = 0; writer < kWriters; ++writer) {
      writers.emplace_back([&, writer, writer_seed = random()] {
        std::mt19937 mine(writer_seed);
        while (!stop.load()) {
          const std::string id = absl::StrCat("w", writer, "-", mine() % 60);
          const bool remove = mine() % 4 == 0;
          const uint64_t sequence = remove ? 0 : 1 + mine() % 1'000'000;
          history.Begin(id, sequence);
          uint64_t version = 0;
          if (remove) {
            auto result = collection_->Delete(std::vector<std::string>{id});
            if (!result.ok()) return;
            version = result->version;
          } else {
            auto result = collection_->Upsert({ContentItem(id, sequence, kDimension)}, {});
            if (!result.ok()) return;
            version = result->version;
          }
          history.Acknowledge(id, version);
        }
      });
    }
    std::this_thread::sleep_for(
        std::chrono::milliseconds(std::uniform_int_distribution<int>(5, 300)(random)));
    system_->Cut();
    stop = true;
    for (std::thread& writer : writers) writer.join();
    Close();
    system_->Restore(&random);
  }
  crash_handler = nullptr;
  // A run without load or without losses proves nothing.
  EXPECT_GE(history.acknowledged(), static_cast<uint64_t>(cycles) * 10);
  EXPECT_GE(system_->restores_that_took_something(), static_cast<uint64_t>(cycles) / 4);
  std::cout << history.acknowledged() << " writes acknowledged, "
            << system_->restores_that_took_something() << " cuts took something, " << points_cut
            << " fell on a crash point" << std::endl;
}

TEST_F(PowerLossTest, AFailedSyncIsNeverAcknowledged) {
  Open();
  WriteHistory history(kDimension);
  auto write = [&](const std::string& id, uint64_t sequence) {
    history.Begin(id, sequence);
    auto result = collection_->Upsert({ContentItem(id, sequence, kDimension)}, {});
    if (result.ok()) history.Acknowledge(id, result->version);
    return result.status();
  };
  ASSERT_TRUE(write("a", 1).ok());
  system_->SetFault([](FileOperation operation, const std::string& path) {
    const bool log = path.size() > 4 && path.compare(path.size() - 4, 4, ".log") == 0;
    return log && operation == FileOperation::kSync ? rocksdb::IOStatus::IOError("injected")
                                                    : rocksdb::IOStatus::OK();
  });
  EXPECT_FALSE(write("a", 2).ok());
  system_->SetFault(nullptr);
  // The sync that failed may have dropped dirty pages, so a later sync proves nothing.
  EXPECT_FALSE(write("b", 1).ok());
  EXPECT_FALSE(database_->WriteHealth().ok());
  // Reads go on, and show what was acknowledged.
  Query query;
  query.vector = ContentVector("a", 1, kDimension);
  query.with_metadata = true;
  auto result = collection_->Search(query);
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_EQ(result->hits.size(), 1u);
  EXPECT_EQ(result->hits[0].metadata.fields().at("sequence").number_value(), 1);
  system_->Cut();
  Close();
  std::mt19937 random(3);
  system_->Restore(&random);
  Open();
  history.Check(collection_.get());
  EXPECT_TRUE(write("b", 2).ok());
}

// Waits until writes are served again, by themselves.
bool WaitUntilHealthy(Database* database) {
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (absl::Now() < deadline) {
    if (database->WriteHealth().ok()) return true;
    absl::SleepFor(absl::Milliseconds(20));
  }
  return false;
}

TEST_F(PowerLossTest, AFullDiskRefusesByNameAndWritesComeBackByThemselves) {
  Open();
  WriteHistory history(kDimension);
  for (int i = 0; i < 100; ++i) {
    const std::string id = absl::StrCat("i", i);
    history.Begin(id, 1);
    history.Acknowledge(id, collection_->Upsert({ContentItem(id, 1, kDimension)}, {})->version);
  }
  for (int round = 0; round < 3; ++round) {
    system_->SetFault([](FileOperation operation, const std::string&) {
      return operation == FileOperation::kAppend || operation == FileOperation::kCreate
                 ? rocksdb::IOStatus::NoSpace("injected")
                 : rocksdb::IOStatus::OK();
    });
    history.Begin("i5", 2 + round);
    auto refused = collection_->Upsert({ContentItem("i5", 2 + round, kDimension)}, {});
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kResourceExhausted) << refused.status();
    EXPECT_EQ(ReasonOf(refused.status()), "DISK_FULL");
    EXPECT_EQ(collection_->Count("")->count, 100u);
    EXPECT_FALSE(database_->WriteHealth().ok());
    system_->SetFault(nullptr);
    ASSERT_TRUE(WaitUntilHealthy(database_.get()));
    history.Check(collection_.get());
    history.Begin("i6", 2 + round);
    auto written = collection_->Upsert({ContentItem("i6", 2 + round, kDimension)}, {});
    ASSERT_TRUE(written.ok()) << written.status();
    history.Acknowledge("i6", written->version);
  }
}

// The N-th call fails, for every N that a small run reaches.
TEST_F(PowerLossTest, TheNthFailingCallNeverLosesAnAcknowledgedWrite) {
  Open();
  WriteHistory history(kDimension);
  std::atomic<int64_t> left{0};
  std::atomic<int> fired{0};
  auto fault = [&](FileOperation, const std::string&) {
    if (left.fetch_sub(1) != 1) return rocksdb::IOStatus::OK();
    fired.fetch_add(1);
    return rocksdb::IOStatus::IOError("injected");
  };
  system_->SetFault(fault);
  int hit = 0;
  for (int n = 1; n <= 24; ++n) {
    SCOPED_TRACE(n);
    left = n;
    bool failed = false;
    for (int i = 0; i < 8 && !failed; ++i) {
      const std::string id = absl::StrCat("i", i);
      history.Begin(id, static_cast<uint64_t>(n));
      auto result = collection_->Upsert({ContentItem(id, n, kDimension)}, {});
      failed = !result.ok();
      if (!failed) history.Acknowledge(id, result->version);
    }
    left = 0;
    hit += failed;
    ASSERT_TRUE(WaitUntilHealthy(database_.get()));
    history.Check(collection_.get());
    if (HasFailure()) break;
  }
  system_->SetFault(nullptr);  // it points at what ends here
  EXPECT_GE(hit, 8) << "a run whose fault never fired proves nothing";
  EXPECT_GE(fired, hit);
}

}  // namespace
}  // namespace imagesearch::index
