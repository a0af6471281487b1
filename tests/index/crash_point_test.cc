// The power goes at every named point of merges, snapshots, compaction, backups, restores,
// re-embedding and switches of names: what was acknowledged is there, a name stands for one whole
// thing, and what was cut off can be done again.
// IMAGESEARCH_POINT_HITS=40 index_crash_point_test cuts at each point so many times.
#include "index/store/crash_point.h"

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gtest/gtest.h"
#include "index/embedded_database.h"
#include "rocksdb/env.h"
#include "tests/index/power_loss_file_system.h"
#include "tests/index/temp_dir.h"
#include "tests/index/write_history.h"

namespace imagesearch::index {
namespace {

constexpr int kDimension = 16;
constexpr int kWriters = 3;
constexpr int kMoved = 40;  // images of the collection that is re-embedded

constexpr const char* kPoints[] = {
    "segment.built",
    "merge.before_install",
    "merge.installed",
    "snapshot.before_finish",
    "snapshot.before_cleanup",
    "checked_file.before_sync",
    "checked_file.before_rename",
    "checked_file.before_folder_sync",
    "compact.family_done",
    "backup.linked",
    "backup.checkpointed",
    "backup.before_manifest",
    "restore.before_move",
    "switch.before_commit",
    "switch.committed",
    "alias.before_commit",
    "alias.committed",
    "collection.created",
    "collection.deleted",
    "collection.before_removal",
};

// The handler is a plain function, so its state is here.
std::mutex handler_mutex;
std::string cut_point;
int cut_after = 0;
PowerLossFileSystem* cut_system = nullptr;
std::atomic<bool> power_is_out{false};
std::set<std::string> seen;

void CutAtPoint(const char* point) {
  std::lock_guard<std::mutex> lock(handler_mutex);
  seen.insert(point);
  if (cut_point != point || power_is_out || --cut_after > 0) return;
  cut_system->Cut();
  power_is_out = true;
}

class CrashPointTest : public ::testing::Test {
 protected:
  CrashPointTest()
      : system_(std::make_shared<PowerLossFileSystem>()),
        env_(rocksdb::NewCompositeEnv(system_)),
        history_(kDimension) {
    options_.data_dir = directory_.path() + "/data";
    options_.env = env_.get();
    options_.merge_tail_rows = 30;
    options_.min_indexed_rows = 60;
    options_.build_threads = 1;
    options_.disk_reserve_bytes = 1;
    cut_system = system_.get();
    crash_handler = CutAtPoint;
  }
  ~CrashPointTest() override { crash_handler = nullptr; }

  void Open() {
    auto opened = OpenEmbedded(options_);
    ASSERT_TRUE(opened.ok()) << opened.status();
    database_ = *std::move(opened);
  }

  // Once, before any power goes.
  void Prepare() {
    Open();
    CollectionOptions collection;
    collection.name = "written";
    collection.dimension = kDimension;
    collection.index.kind = IndexKind::kHnsw;
    ASSERT_TRUE(database_->CreateCollection(collection).ok());
    collection.name = "moved";
    collection.dimension = 2;
    collection.model_id = "model0@1";
    collection.model_fingerprint = "model0";
    ASSERT_TRUE(database_->CreateCollection(collection).ok());
    ASSERT_TRUE(FillMoved(**database_->GetCollection("moved")).ok());
    ASSERT_TRUE(database_->SetAlias("alias", "written").ok());
  }

  static absl::Status FillMoved(Collection& collection) {
    std::vector<UpsertItem> items;
    for (int i = 0; i < kMoved; ++i) {
      items.push_back({});
      items.back().id = absl::StrCat("m", i);
      items.back().vector.emplace(collection.options().dimension, 1.0f + i);
    }
    return collection.Upsert(std::move(items), {}).status();
  }

  void Write(int writer, uint32_t seed) {
    auto collection = *database_->GetCollection("written");
    std::mt19937 random(seed);
    while (!power_is_out && !stop_) {
      const std::string id = absl::StrCat("w", writer, "-", random() % 50);
      const uint64_t sequence = random() % 4 == 0 ? 0 : 1 + random() % 1'000'000;
      history_.Begin(id, sequence);
      uint64_t version = 0;
      if (sequence == 0) {
        auto result = collection->Delete(std::vector<std::string>{id});
        if (!result.ok()) return;
        version = result->version;
      } else {
        auto result = collection->Upsert({ContentItem(id, sequence, kDimension)}, {});
        if (!result.ok()) return;
        version = result->version;
      }
      history_.Acknowledge(id, version);
    }
  }

  // One round of everything that has points, but for writes. Ends early when the power is out.
  void RunJobs(int round) {
    const std::string backup = absl::StrCat(directory_.path(), "/backup", backups_++);
    // Through the name: an acknowledged switch holds.
    const std::string target = round % 2 == 0 ? "moved" : "written";
    pending_alias_ = target;
    if (!database_->SetAlias("alias", target).ok()) return;
    alias_ = target;

    const std::string model = absl::StrCat("model", ++model_);
    auto moving = database_->BeginReembed("moved", {2 + model_ % 3, model + "@1", model});
    if (!moving.ok() || !FillMoved((*moving)->target()).ok()) return;
    pending_model_ = model;
    if (!(*moving)->CutOver().ok()) return;
    served_model_ = model;
    if (round % 3 == 0) {
      pending_model_ = previous_model_;
      if (!database_->RollBackReembed("moved", false).ok()) return;
      served_model_ = previous_model_;
    }
    moving->reset();
    if (!database_->FinishReembed("moved").ok()) return;
    previous_model_ = served_model_;

    auto written = *database_->GetCollection("written");
    if (!written->Compact({}).ok()) return;
    written = nullptr;
    const auto made = database_->CreateBackup(backup, {});
    if (!made.ok()) return;
    kept_backups_[backup] = made->version;
    const std::string restored = absl::StrCat(directory_.path(), "/restored", backups_);
    restoring_ = {backup, restored};
    if (!RestoreBackup(backup, restored, {}, env_.get()).ok()) return;
    restoring_ = {};
  }

  void CheckAll() {
    // Every id of both collections, whichever model serves.
    history_.Check((*database_->GetCollection("written")).get());
    EXPECT_GE(database_->version(), history_.newest_version());
    auto moved = database_->GetCollection("moved");
    ASSERT_TRUE(moved.ok()) << moved.status();
    EXPECT_EQ((*moved)->Count("")->count, static_cast<uint64_t>(kMoved));
    const std::string model = (*moved)->options().model_fingerprint;
    EXPECT_TRUE(model == served_model_ || model == pending_model_)
        << model << ", acknowledged was " << served_model_ << ", under way " << pending_model_;
    served_model_ = pending_model_ = previous_model_ = model;
    for (const ReembedInfo& beside : database_->ListReembeds()) {
      const absl::Status ended = beside.is_building ? database_->AbandonReembed("moved")
                                                    : database_->FinishReembed("moved").status();
      EXPECT_TRUE(ended.ok()) << ended;
    }
    EXPECT_TRUE(database_->ListReembeds().empty());
    const std::vector<Alias> aliases = database_->ListAliases();
    ASSERT_EQ(aliases.size(), 1u);
    EXPECT_TRUE(aliases[0].collection == alias_ || aliases[0].collection == pending_alias_);
    alias_ = pending_alias_ = aliases[0].collection;
    EXPECT_TRUE((*database_->GetCollection("alias"))->Count("").ok());
  }

  // A backup that was reported is whole; one that was cut off is refused by name or whole. A
  // restore that was cut off can be made again.
  void CheckBackups() {
    for (int i = first_unchecked_; i < backups_; ++i) {
      const std::string backup = absl::StrCat(directory_.path(), "/backup", i);
      std::string to = absl::StrCat(directory_.path(), "/check", i);
      const auto kept = kept_backups_.find(backup);
      if (restoring_.first == backup) to = restoring_.second;
      const auto restored = RestoreBackup(backup, to, {}, env_.get());
      if (kept != kept_backups_.end()) {
        ASSERT_TRUE(restored.ok()) << backup << ": " << restored.status();
        EXPECT_EQ(restored->version, kept->second);
      } else if (!restored.ok()) {
        EXPECT_FALSE(ReasonOf(restored.status()).empty()) << restored.status();
      }
      if (restored.ok()) {
        EmbeddedOptions options = options_;
        options.data_dir = to;
        auto opened = OpenEmbedded(options);
        ASSERT_TRUE(opened.ok()) << opened.status();
        EXPECT_EQ((*(*opened)->GetCollection("moved"))->Count("")->count,
                  static_cast<uint64_t>(kMoved));
        EXPECT_TRUE((*opened)->GetCollection("written").ok());
      }
    }
    first_unchecked_ = backups_;
    restoring_ = {};
    std::error_code ignored;
    for (const auto& entry : std::filesystem::directory_iterator(directory_.path())) {
      if (entry.path() != options_.data_dir) std::filesystem::remove_all(entry.path(), ignored);
    }
    kept_backups_.clear();
  }

  TempDir directory_;
  std::shared_ptr<PowerLossFileSystem> system_;
  std::unique_ptr<rocksdb::Env> env_;
  EmbeddedOptions options_;
  std::unique_ptr<Database> database_;
  WriteHistory history_;
  std::atomic<bool> stop_{false};

  std::string alias_ = "written", pending_alias_ = "written";
  int model_ = 0;
  std::string served_model_ = "model0", pending_model_ = "model0", previous_model_ = "model0";
  int backups_ = 0, first_unchecked_ = 0;
  std::map<std::string, uint64_t> kept_backups_;
  std::pair<std::string, std::string> restoring_;
};

TEST_F(CrashPointTest, NothingIsLostOrHalfDoneWhenThePowerGoesAtAnyPoint) {
  const char* text = std::getenv("IMAGESEARCH_POINT_HITS");
  const int hits = text == nullptr ? 1 : std::atoi(text);
  const uint32_t seed = std::random_device()();
  std::cout << "seed " << seed << ", " << hits << " cuts at each point" << std::endl;
  std::mt19937 random(seed);
  power_is_out = false;
  Prepare();
  if (HasFailure()) return;
  int cuts = 0;
  for (int hit = 0; hit < hits; ++hit) {
    for (const char* point : kPoints) {
      SCOPED_TRACE(absl::StrCat("cut ", hit + 1, " at ", point));
      if (database_ == nullptr) Open();
      if (HasFatalFailure()) return;
      {
        std::lock_guard<std::mutex> lock(handler_mutex);
        cut_point = point;
        cut_after = std::uniform_int_distribution<int>(1, 2)(random);
      }
      std::vector<std::thread> threads;
      for (int writer = 0; writer < kWriters; ++writer) {
        threads.emplace_back(
            [this, writer, writer_seed = random()] { Write(writer, writer_seed); });
      }
      const auto give_up = std::chrono::steady_clock::now() + std::chrono::seconds(60);
      for (int round = hit; !power_is_out && std::chrono::steady_clock::now() < give_up; ++round) {
        RunJobs(round);
        // After a job that the loss of power did not end, the next round goes on from there.
        if (!power_is_out) {
          for (const ReembedInfo& beside : database_->ListReembeds()) {
            if (beside.is_building) database_->AbandonReembed("moved").IgnoreError();
          }
        }
      }
      stop_ = true;
      for (std::thread& thread : threads) thread.join();
      stop_ = false;
      ASSERT_TRUE(power_is_out) << "void: the point was not reached";
      database_ = nullptr;
      {
        std::lock_guard<std::mutex> lock(handler_mutex);
        cut_point.clear();
      }
      system_->Restore(&random);
      power_is_out = false;
      ++cuts;
      Open();
      if (HasFatalFailure()) return;
      CheckAll();
      CheckBackups();
      if (HasFailure()) return;
      std::cout << "cut " << cuts << " at " << point << std::endl;
    }
  }
  EXPECT_EQ(seen.size(), std::size(kPoints)) << "a point that this test does not know of";
  EXPECT_GE(history_.acknowledged(), static_cast<uint64_t>(cuts) * 5);
  std::cout << cuts << " cuts at " << std::size(kPoints) << " points, " << history_.acknowledged()
            << " writes acknowledged, " << system_->restores_that_took_something()
            << " cuts took something" << std::endl;
}

}  // namespace
}  // namespace imagesearch::index
