// What Database::Stats tells an operator, against a real RocksDB that is made to fall behind.
#include <condition_variable>
#include <mutex>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "index/store/rocks_store.h"
#include "rocksdb/env.h"
#include "tests/index/embedded_fixture.h"
#include "tests/index/temp_dir.h"

namespace imagesearch::index {
namespace {

class DatabaseStatsTest : public EmbeddedFixture {
 protected:
  void Fill(int from, int to) {
    for (int i = from; i < to; ++i) Upsert({Item(absl::StrCat(i), {1, 0, 0, 1.0f * i})});
  }
  std::optional<DatabaseStats::Snapshot> Snapshot() {
    const auto stats = database_->Stats();
    EXPECT_TRUE(stats.has_value());
    if (!stats || stats->snapshots.empty()) return std::nullopt;
    return stats->snapshots[0];
  }
};

TEST_F(DatabaseStatsTest, TheNewestSnapshotIsOfTheLastMergeAndTheTailIsWhatCameAfterIt) {
  options_.merge_tail_rows = 1 << 20;  // merges when it is told to
  Open();
  EXPECT_FALSE(Snapshot().has_value());
  Fill(0, 20);
  const absl::Time before = absl::Now();
  ASSERT_TRUE(collection_->Optimize().ok());
  const auto first = Snapshot();
  ASSERT_TRUE(first.has_value());
  EXPECT_EQ(first->collection, "pictures");
  EXPECT_EQ(first->version, collection_->Info().version);
  EXPECT_GE(first->time, before - absl::Seconds(1));  // files know whole seconds
  EXPECT_LE(first->time, absl::Now());
  EXPECT_EQ(collection_->Info().tail_rows, 0u);

  Fill(20, 27);
  EXPECT_EQ(collection_->Info().tail_rows, 7u);
  EXPECT_EQ(Snapshot()->version, first->version);
  ASSERT_TRUE(collection_->Optimize().ok());
  EXPECT_EQ(Snapshot()->version, collection_->Info().version);
}

TEST_F(DatabaseStatsTest, MemtablesGrowWithWrites) {
  Open();
  const uint64_t before = database_->Stats()->store.memtable_bytes;
  const std::string text(10'000, 'x');
  for (int i = 0; i < 300; ++i) {
    Upsert({Item(absl::StrCat(i), {1, 0, 0, 1}, absl::StrCat(R"({"text": ")", text, "\"}"))});
  }
  EXPECT_GT(database_->Stats()->store.memtable_bytes, before + 1'000'000);
}

TEST_F(DatabaseStatsTest, AClosedDatabaseHasNone) {
  Open();
  const std::shared_ptr<Database> database = std::move(database_);
  collection_ = nullptr;
  ASSERT_TRUE(database->Close(absl::InfiniteFuture()).ok());
  EXPECT_FALSE(database->Stats().has_value());
}

// Keeps RocksDB's compaction threads busy with nothing.
class BusyCompactionThreads {
 public:
  BusyCompactionThreads() {
    rocksdb::Env* env = rocksdb::Env::Default();
    waiting_ = env->GetBackgroundThreads(rocksdb::Env::LOW);
    for (int i = waiting_; i > 0; --i) env->Schedule(&Wait, this, rocksdb::Env::LOW);
  }
  ~BusyCompactionThreads() {
    std::unique_lock<std::mutex> lock(mutex_);
    done_ = true;
    changed_.notify_all();
    changed_.wait(lock, [this] { return waiting_ == 0; });
  }

 private:
  static void Wait(void* self_pointer) {
    auto* self = static_cast<BusyCompactionThreads*>(self_pointer);
    std::unique_lock<std::mutex> lock(self->mutex_);
    self->changed_.wait(lock, [self] { return self->done_; });
    --self->waiting_;
    self->changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  bool done_ = false;
  int waiting_ = 0;
};

TEST(StoreStatsTest, ACompactionThatFallsBehindShowsAsSlowedWrites) {
  TempDir directory;
  StoreOptions options;
  options.data_dir = directory.path() + "/data";
  options.env = rocksdb::Env::Default();
  options.disk_reserve_bytes = 1;
  auto opened = RocksStore::Open(options);
  ASSERT_TRUE(opened.ok()) << opened.status();
  RocksStore& store = **opened;
  uint64_t version = store.recovered_version();
  const auto write = [&](size_t bytes) {
    rocksdb::WriteBatch batch;
    batch.Put(store.handle(Family::kItems), "same key", std::string(bytes, 'x'));
    EXPECT_TRUE(store.Commit(&batch, ++version).ok());
  };
  EXPECT_EQ(store.Stats().slowdowns, 0u);
  EXPECT_EQ(store.Stats().delayed_write_rate, 0u);
  {
    BusyCompactionThreads busy;
    // Each checkpoint writes the memtable out as one more file for compaction to merge. RocksDB
    // slows writes at 20 of them, and a checkpoint would wait; full memtables do not.
    for (int i = 0; i < 19; ++i) {
      write(1000);
      ASSERT_TRUE(store.Checkpoint(absl::StrCat(directory.path(), "/checkpoint", i)).ok());
    }
    for (int i = 0; i < 60 && store.Stats().slowdowns == 0; ++i) write(1 << 20);
    const StoreStats stats = store.Stats();
    EXPECT_GT(stats.delayed_write_rate, 0u);
    EXPECT_GT(stats.slowdowns, 0u);
    EXPECT_GT(stats.pending_compaction_bytes, 0u);
    EXPECT_FALSE(stats.writes_stopped);
  }
  const absl::Time deadline = absl::Now() + absl::Seconds(30);
  while (store.Stats().delayed_write_rate > 0 && absl::Now() < deadline) {
    absl::SleepFor(absl::Milliseconds(20));
  }
  EXPECT_EQ(store.Stats().delayed_write_rate, 0u);
  EXPECT_GT(store.Stats().slowdowns, 0u);
  EXPECT_TRUE(store.Close().ok());
}

}  // namespace
}  // namespace imagesearch::index
