// Backups: what is restored is exactly the state at the backup's version, however much was written
// and merged meanwhile; a damaged or unfinished backup is refused.
#include <atomic>
#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "index/embedded_database.h"
#include "tests/index/temp_dir.h"
#include "tests/index/write_history.h"

namespace imagesearch::index {
namespace {

namespace fs = std::filesystem;

constexpr int kDimension = 16;

// Everything that was done: version -> id -> sequence (0: deleted).
class Log {
 public:
  void Add(uint64_t version, std::string id, uint64_t sequence) {
    std::lock_guard<std::mutex> lock(mutex_);
    ops_[version].emplace_back(std::move(id), sequence);
  }
  std::map<std::string, uint64_t> StateAt(uint64_t version) const {
    std::lock_guard<std::mutex> lock(mutex_);
    std::map<std::string, uint64_t> state;
    for (const auto& [at, ops] : ops_) {
      if (at > version) break;
      for (const auto& [id, sequence] : ops) {
        if (sequence == 0) {
          state.erase(id);
        } else {
          state[id] = sequence;
        }
      }
    }
    return state;
  }

 private:
  mutable std::mutex mutex_;
  std::map<uint64_t, std::vector<std::pair<std::string, uint64_t>>> ops_;
};

class BackupTest : public ::testing::Test {
 protected:
  std::string Path(const std::string& name) const { return directory_.path() + "/" + name; }

  std::unique_ptr<Database> Open(const std::string& data_dir) {
    EmbeddedOptions options;
    options.data_dir = data_dir;
    options.merge_tail_rows = 200;
    options.min_indexed_rows = 50;
    options.build_threads = 1;
    options.disk_reserve_bytes = 1;
    auto opened = OpenEmbedded(options);
    EXPECT_TRUE(opened.ok()) << opened.status();
    if (!opened.ok()) return nullptr;
    if (!(*opened)->GetCollection("c").ok()) {
      CollectionOptions collection;
      collection.name = "c";
      collection.dimension = kDimension;
      collection.index.kind = IndexKind::kHnsw;
      EXPECT_TRUE((*opened)->CreateCollection(collection).ok());
    }
    return *std::move(opened);
  }
  void Fill(Database* database, int from, int to) {
    std::vector<UpsertItem> items;
    for (int i = from; i < to; ++i)
      items.push_back(ContentItem(absl::StrCat("i", i), 1, kDimension));
    ASSERT_TRUE((*database->GetCollection("c"))->Upsert(std::move(items), {}).ok());
  }
  void Flip(const fs::path& path) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    const auto at = static_cast<std::streamoff>(fs::file_size(path) / 2);
    file.seekg(at);
    const char byte = static_cast<char>(file.get() ^ 1);
    file.seekp(at);
    file.put(byte);
  }

  TempDir directory_;
};

// Restores `backup` and compares every record with `expected` (id -> sequence).
void CheckRestored(Database* database, const std::map<std::string, uint64_t>& expected) {
  auto collection = *database->GetCollection("c");
  std::map<std::string, uint64_t> found;
  ListOptions list;
  list.page_size = 500;
  do {
    auto page = collection->List(list);
    ASSERT_TRUE(page.ok()) << page.status();
    for (const Record& record : page->records) {
      found[record.id] =
          static_cast<uint64_t>(record.metadata.fields().at("sequence").number_value());
    }
    list.page_token = page->next_page_token;
  } while (!list.page_token.empty());
  ASSERT_EQ(found, expected);
  ASSERT_EQ(collection->Count("")->count, expected.size());
  int asked = 0;
  for (const auto& [id, sequence] : expected) {
    if (++asked > 30) break;
    Query query;
    query.vector = ContentVector(id, sequence, kDimension);
    query.limit = 1;
    query.filter = absl::StrCat("sequence = ", sequence);
    auto result = collection->Search(query);
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_EQ(result->hits.size(), 1u);
    EXPECT_EQ(result->hits[0].id, id);
  }
}

TEST_F(BackupTest, UnderWriteLoadRestoresExactlyTheStateAtItsVersion) {
  const uint32_t seed = std::random_device()();
  std::cout << "seed " << seed << std::endl;
  auto database = Open(Path("data"));
  Log log;
  std::atomic<bool> stop{false};
  std::vector<std::thread> writers;
  for (int w = 0; w < 3; ++w) {
    writers.emplace_back([&, w] {
      std::mt19937 random(seed + w);
      auto collection = *database->GetCollection("c");
      for (uint64_t sequence = 1; !stop; ++sequence) {
        // Ids of its own: the order of versions is then the order of its calls.
        const std::string id = absl::StrCat("w", w, "-", random() % 300);
        if (random() % 5 == 0) {
          auto deleted = collection->Delete(std::vector<std::string>{id});
          ASSERT_TRUE(deleted.ok()) << deleted.status();
          // Where nothing was deleted the version is somebody else's.
          if (deleted->deleted > 0) log.Add(deleted->version, id, 0);
          continue;
        }
        auto upserted = collection->Upsert({ContentItem(id, sequence, kDimension)}, {});
        ASSERT_TRUE(upserted.ok()) << upserted.status();
        log.Add(upserted->version, id, sequence);
      }
    });
  }
  std::vector<BackupInfo> backups;
  for (int i = 0; i < 5; ++i) {
    absl::SleepFor(absl::Milliseconds(250));
    uint64_t done = 0;
    JobControl control;
    control.progress = [&](uint64_t now, uint64_t total) {
      EXPECT_GE(now, done);
      EXPECT_LE(now, total);
      done = now;
    };
    auto info = database->CreateBackup(Path(absl::StrCat("backup", i)), control);
    ASSERT_TRUE(info.ok()) << info.status();
    EXPECT_EQ(done, info->bytes);
    EXPECT_LE(info->version, database->version());
    if (!backups.empty()) {
      EXPECT_GT(info->version, backups.back().version);
    }
    backups.push_back(*info);
  }
  stop = true;
  for (std::thread& writer : writers) writer.join();
  const std::string old_instance = database->instance_id();
  ASSERT_TRUE(database->Close(absl::InfiniteFuture()).ok());
  for (size_t i = 0; i < backups.size(); ++i) {
    SCOPED_TRACE(absl::StrCat("backup ", i));
    const std::string data = Path(absl::StrCat("restored", i));
    auto info = RestoreBackup(Path(absl::StrCat("backup", i)), data, {});
    ASSERT_TRUE(info.ok()) << info.status();
    EXPECT_EQ(info->version, backups[i].version);
    auto restored = Open(data);
    ASSERT_NE(restored, nullptr);
    EXPECT_EQ(restored->version(), backups[i].version);
    EXPECT_NE(restored->instance_id(), old_instance);
    CheckRestored(restored.get(), log.StateAt(backups[i].version));
    const std::string instance = restored->instance_id();
    Fill(restored.get(), 0, 300);  // it goes on from there
    ASSERT_TRUE(restored->Close(absl::InfiniteFuture()).ok());
    restored = Open(data);
    EXPECT_EQ(restored->instance_id(), instance);
    EXPECT_EQ((*restored->GetCollection("c"))->Count("")->count,
              log.StateAt(backups[i].version).size() + 300);
  }
}

TEST_F(BackupTest, IndexFilesComeWithIt) {
  auto database = Open(Path("data"));
  Fill(database.get(), 0, 400);
  ASSERT_TRUE((*database->GetCollection("c"))->Optimize().ok());
  ASSERT_TRUE(database->CreateBackup(Path("backup"), {}).ok());
  ASSERT_TRUE(database->Close(absl::InfiniteFuture()).ok());
  ASSERT_TRUE(RestoreBackup(Path("backup"), Path("restored"), {}).ok());
  auto restored = Open(Path("restored"));
  const CollectionInfo info = (*restored->GetCollection("c"))->Info();
  EXPECT_EQ(info.serving_kind, IndexKind::kHnsw);
  EXPECT_EQ(info.tail_rows, 0u);
  EXPECT_EQ(info.segments, 1u);
}

TEST_F(BackupTest, RefusesFoldersThatHoldSomething) {
  auto database = Open(Path("data"));
  Fill(database.get(), 0, 10);
  ASSERT_TRUE(database->CreateBackup(Path("backup"), {}).ok());
  auto again = database->CreateBackup(Path("backup"), {});
  EXPECT_EQ(ReasonOf(again.status()), "FOLDER_NOT_EMPTY");
  EXPECT_EQ(ReasonOf(database->CreateBackup(Path("data"), {}).status()), "FOLDER_NOT_EMPTY");
  EXPECT_EQ(ReasonOf(RestoreBackup(Path("backup"), Path("data"), {}).status()), "FOLDER_NOT_EMPTY");
  EXPECT_EQ(ReasonOf(RestoreBackup(Path("data"), Path("new"), {}).status()), "NO_BACKUP");
  EXPECT_TRUE(RestoreBackup(Path("backup"), Path("new"), {}).ok());
}

TEST_F(BackupTest, EveryDamagedFileIsNoticedAndNothingIsLeftBehind) {
  auto database = Open(Path("data"));
  Fill(database.get(), 0, 300);
  ASSERT_TRUE((*database->GetCollection("c"))->Optimize().ok());
  ASSERT_TRUE(database->CreateBackup(Path("backup"), {}).ok());
  ASSERT_TRUE(database->Close(absl::InfiniteFuture()).ok());
  int damaged = 0;
  for (const auto& entry : fs::recursive_directory_iterator(Path("backup"))) {
    if (!entry.is_regular_file() || entry.file_size() == 0) continue;
    fs::remove_all(Path("bad"));
    fs::copy(Path("backup"), Path("bad"), fs::copy_options::recursive);
    const fs::path victim = Path("bad") / fs::relative(entry.path(), Path("backup"));
    Flip(victim);
    EXPECT_EQ(ReasonOf(RestoreBackup(Path("bad"), Path("new"), {}).status()), "BACKUP_CORRUPT")
        << victim;
    EXPECT_FALSE(fs::exists(Path("new/FORMAT")));
    fs::remove(victim);
    const std::string reason = ReasonOf(RestoreBackup(Path("bad"), Path("new"), {}).status());
    EXPECT_EQ(reason, victim.filename() == "BACKUP" ? "NO_BACKUP" : "BACKUP_CORRUPT") << victim;
    ++damaged;
  }
  EXPECT_GT(damaged, 6);
  EXPECT_TRUE(RestoreBackup(Path("backup"), Path("new"), {}).ok());
}

TEST_F(BackupTest, ARestoreThatWasCutOffIsNoDataFolderAndCanBeRepeated) {
  auto database = Open(Path("data"));
  Fill(database.get(), 0, 100);
  ASSERT_TRUE(database->CreateBackup(Path("backup"), {}).ok());
  // As kill -9 leaves it between the moves.
  ASSERT_TRUE(RestoreBackup(Path("backup"), Path("new"), {}).ok());
  fs::create_directory(Path("new/restoring"));
  fs::rename(Path("new/FORMAT"), Path("new/restoring/FORMAT"));
  EmbeddedOptions options;
  options.data_dir = Path("new");
  options.disk_reserve_bytes = 1;
  EXPECT_FALSE(OpenEmbedded(options).ok());
  ASSERT_TRUE(RestoreBackup(Path("backup"), Path("new"), {}).ok());
  EXPECT_FALSE(fs::exists(Path("new/restoring")));
  EXPECT_EQ((*Open(Path("new"))->GetCollection("c"))->Count("")->count, 100u);
}

TEST_F(BackupTest, ACancelledBackupIsRemoved) {
  auto database = Open(Path("data"));
  Fill(database.get(), 0, 100);
  JobControl control;
  auto cancelled = std::make_shared<std::atomic<bool>>(false);
  control.cancelled = cancelled;
  control.progress = [&](uint64_t, uint64_t) { *cancelled = true; };
  EXPECT_EQ(database->CreateBackup(Path("backup"), control).status().code(),
            absl::StatusCode::kCancelled);
  EXPECT_FALSE(fs::exists(Path("backup")));
}

TEST_F(BackupTest, CompactGivesSpaceBackAndReportsProgress) {
  auto database = Open(Path("data"));
  auto collection = *database->GetCollection("c");
  for (int round = 0; round < 20; ++round) Fill(database.get(), 0, 1000);
  std::vector<std::string> ids;
  for (int i = 10; i < 1000; ++i) ids.push_back(absl::StrCat("i", i));
  ASSERT_TRUE(collection->Delete(ids).ok());
  const uint64_t before = collection->Info().disk_bytes;
  uint64_t done = 0, total = 0;
  JobControl control;
  control.progress = [&](uint64_t now, uint64_t of) {
    EXPECT_GE(now, done);
    done = now;
    total = of;
  };
  ASSERT_TRUE(collection->Compact(control).ok());
  EXPECT_EQ(done, total);
  EXPECT_GT(total, 0u);
  EXPECT_LT(collection->Info().disk_bytes, before / 10);
  EXPECT_EQ(collection->Count("")->count, 10u);

  done = 0;
  control.cancelled = std::make_shared<std::atomic<bool>>(true);
  Fill(database.get(), 0, 500);
  EXPECT_EQ(collection->Compact(control).code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace imagesearch::index
