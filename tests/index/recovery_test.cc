// What a start finds: damaged, cut, missing and newer files. Index files are rebuilt from the
// store; the store itself is never silently short of an acknowledged write.
#include <filesystem>
#include <fstream>
#include <random>

#include "absl/strings/match.h"
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
using ::testing::SizeIs;

constexpr int kDimension = 16;

std::string ReadFile(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

void WriteFile(const fs::path& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

// The folder of an open database, as kill -9 would leave it. RocksDB may remove an old file under
// the copy's feet; then it is made again.
void CopyLive(const std::string& from, const std::string& to) {
  std::error_code error;
  for (int attempt = 0; attempt < 20; ++attempt) {
    fs::remove_all(to);
    error.clear();
    fs::copy(from, to, fs::copy_options::recursive, error);
    if (!error) return;
    absl::SleepFor(absl::Milliseconds(50));
  }
  FAIL() << error.message();
}

class RecoveryTest : public ::testing::Test {
 protected:
  RecoveryTest() : history_(kDimension) {
    options_.data_dir = directory_.path() + "/data";
    options_.merge_tail_rows = 1 << 30;  // segments are made by Optimize alone
    options_.min_indexed_rows = 50;
    options_.build_threads = 1;
    options_.disk_reserve_bytes = 1;
    options_.on_progress = [this](const std::string& what) {
      if (absl::StrContains(what, "rebuilding")) ++rebuilds_;
    };
  }

  absl::Status Open() {
    auto opened = OpenEmbedded(options_);
    if (!opened.ok()) return opened.status();
    database_ = *std::move(opened);
    if (!database_->GetCollection("c").ok()) {
      CollectionOptions collection;
      collection.name = "c";
      collection.dimension = kDimension;
      collection.index.kind = IndexKind::kHnsw;
      auto created = database_->CreateCollection(collection);
      if (!created.ok()) return created.status();
    }
    collection_ = *database_->GetCollection("c");
    return absl::OkStatus();
  }
  void Close() {
    collection_ = nullptr;
    EXPECT_TRUE(database_->Close(absl::InfiniteFuture()).ok());
    database_ = nullptr;
  }
  void Write(int from, int to, uint64_t sequence) {
    for (int i = from; i < to; ++i) {
      const std::string id = absl::StrCat("i", i);
      history_.Begin(id, sequence);
      auto result = collection_->Upsert({ContentItem(id, sequence, kDimension)}, {});
      ASSERT_TRUE(result.ok()) << result.status();
      history_.Acknowledge(id, result->version);
    }
  }
  // Two snapshots, the newer one of a segment of all images, and a tail.
  void Fill() {
    ASSERT_TRUE(Open().ok());
    Write(0, 120, 1);
    ASSERT_TRUE(collection_->Optimize().ok());
    Write(60, 180, 2);
    ASSERT_TRUE(collection_->Optimize().ok());
    Write(170, 190, 3);
    Close();
  }
  std::vector<fs::path> IndexFiles(const std::string& suffix) {
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator(options_.data_dir + "/index")) {
      if (entry.is_regular_file() && absl::EndsWith(entry.path().string(), suffix)) {
        files.push_back(entry.path());
      }
    }
    std::sort(files.begin(), files.end());
    return files;
  }
  void ReopenAndCheck() {
    absl::Status opened = Open();
    ASSERT_TRUE(opened.ok()) << opened;
    history_.Check(collection_.get());
    Close();
  }
  // RocksDB's log with the records; others are empty or nearly so.
  fs::path FullestLog() {
    fs::path fullest;
    for (const auto& entry : fs::directory_iterator(options_.data_dir + "/db")) {
      if (entry.path().extension() != ".log") continue;
      if (fullest.empty() || entry.file_size() > fs::file_size(fullest)) fullest = entry.path();
    }
    return fullest;
  }

  TempDir directory_;
  EmbeddedOptions options_;
  WriteHistory history_;
  std::unique_ptr<Database> database_;
  std::shared_ptr<Collection> collection_;
  int rebuilds_ = 0;
};

TEST_F(RecoveryTest, WholeSnapshotsAreUsedAndTwoAreKept) {
  Fill();
  EXPECT_THAT(IndexFiles(".snapshot"), SizeIs(2));
  EXPECT_THAT(IndexFiles(".rows"), SizeIs(2));
  EXPECT_THAT(IndexFiles(".ann"), SizeIs(2));
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(collection_->Info().serving_kind, IndexKind::kHnsw);
  EXPECT_EQ(rebuilds_, 0);
  for (int i = 0; i < 3; ++i) {
    Write(0, 3, 10 + i);
    ASSERT_TRUE(collection_->Optimize().ok());
  }
  EXPECT_THAT(IndexFiles(".snapshot"), SizeIs(2));
  EXPECT_THAT(IndexFiles(".rows"), SizeIs(2));
  history_.Check(collection_.get());
  Close();
}

TEST_F(RecoveryTest, EveryDamagedIndexFileIsNoticedAndRebuilt) {
  Fill();
  std::mt19937 random(5);
  for (const char* suffix : {".rows", ".ann", ".snapshot"}) {
    const fs::path newest = IndexFiles(suffix).back();
    const std::string whole = ReadFile(newest);
    for (int i = 0; i < 6; ++i) {
      SCOPED_TRACE(absl::StrCat(newest.string(), " ", i));
      std::string damaged = whole;
      if (i % 2 == 0) {
        damaged[random() % damaged.size()] ^= static_cast<char>(1 << random() % 8);
      } else {
        damaged.resize(random() % damaged.size());
      }
      const fs::path kept = newest.string() + ".kept";
      fs::copy_file(newest, kept, fs::copy_options::overwrite_existing);
      WriteFile(newest, damaged);
      rebuilds_ = 0;
      ReopenAndCheck();
      EXPECT_GT(rebuilds_, 0);
      fs::rename(kept, newest);
    }
  }
}

TEST_F(RecoveryTest, WithoutAnyIndexFileAllIsRebuilt) {
  Fill();
  fs::remove_all(options_.data_dir + "/index");
  ReopenAndCheck();
}

TEST_F(RecoveryTest, ARebuiltIndexBecomesTheWantedKindAgain) {
  Fill();
  fs::remove_all(options_.data_dir + "/index");
  options_.merge_tail_rows = 100;
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(collection_->Info().serving_kind, IndexKind::kFlat);
  const absl::Time deadline = absl::Now() + absl::Seconds(60);
  while (collection_->Info().serving_kind != IndexKind::kHnsw && absl::Now() < deadline) {
    absl::SleepFor(absl::Milliseconds(20));
  }
  EXPECT_EQ(collection_->Info().serving_kind, IndexKind::kHnsw);
  history_.Check(collection_.get());
  Close();
}

TEST_F(RecoveryTest, AnotherCollectionsSegmentIsNotLoaded) {
  Fill();
  // The files of a folder that was restored into the wrong place.
  fs::create_directories(options_.data_dir + "/index/2");
  for (const fs::path& file : IndexFiles("")) {
    fs::copy_file(file, options_.data_dir + "/index/2/" + file.filename().string());
  }
  ASSERT_TRUE(Open().ok());
  EXPECT_FALSE(fs::exists(options_.data_dir + "/index/2")) << "no collection owns it";
  Close();
}

// The trap that ACKED is for: RocksDB takes damage in the middle of its log for the torn end of a
// crash, and would come up without the acknowledged writes behind it.
TEST_F(RecoveryTest, AFlippedBitInTheLogIsDataLossNotSilence) {
  ASSERT_TRUE(Open().ok());
  Write(0, 40, 1);
  const std::string copy = directory_.path() + "/copy";
  CopyLive(options_.data_dir, copy);
  Close();
  options_.data_dir = copy;
  const fs::path log = FullestLog();
  const std::string whole = ReadFile(log);
  int noticed = 0;
  for (double at : {0.2, 0.5, 0.8, 0.97}) {
    std::string damaged = whole;
    damaged[static_cast<size_t>(at * static_cast<double>(whole.size()))] ^= 4;
    WriteFile(log, damaged);
    const absl::Status status = Open();
    EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss) << status;
    EXPECT_EQ(ReadFile(log), damaged) << "a refused start must change nothing";
    ++noticed;
  }
  EXPECT_EQ(noticed, 4);
  WriteFile(log, whole);
  ReopenAndCheck();
}

TEST_F(RecoveryTest, ATornUnacknowledgedTailIsNormal) {
  ASSERT_TRUE(Open().ok());
  Write(0, 20, 1);
  const std::string copy = directory_.path() + "/copy";
  CopyLive(options_.data_dir, copy);
  Write(20, 21, 1);  // not acknowledged in the copy
  const std::string longer = ReadFile(FullestLog());
  Close();
  options_.data_dir = copy;
  const fs::path log = FullestLog();
  const size_t known = fs::file_size(log);
  for (size_t cut = known; cut < longer.size(); cut += 7) {
    SCOPED_TRACE(cut);
    const std::string again = directory_.path() + "/again";
    fs::remove_all(again);
    fs::copy(copy, again, fs::copy_options::recursive);
    options_.data_dir = again;
    WriteFile(again + "/db/" + log.filename().string(), longer.substr(0, cut));
    ASSERT_TRUE(Open().ok());
    EXPECT_GE(collection_->Count("")->count, 20u);
    Close();
    options_.data_dir = copy;
  }
}

TEST_F(RecoveryTest, ANewerFormatIsRefused) {
  Fill();
  const std::string path = options_.data_dir + "/FORMAT";
  const std::string now = ReadFile(path);
  WriteFile(path, "imagesearchd data folder, format 2\n");
  const absl::Status status = Open();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition) << status;
  EXPECT_EQ(ReasonOf(status), "NEWER_FORMAT");
  WriteFile(path, "something else\n");
  EXPECT_EQ(Open().code(), absl::StatusCode::kDataLoss);
  fs::remove(path);
  EXPECT_EQ(Open().code(), absl::StatusCode::kDataLoss);
  WriteFile(path, now);
  ReopenAndCheck();
}

// The fixture was written by the release that introduced format 1; every later release must open
// it.
TEST_F(RecoveryTest, TheOldestDataFolderOpens) {
  fs::copy(IMAGESEARCH_FIXTURE_DIR "/data_format_1", options_.data_dir,
           fs::copy_options::recursive);
  auto opened = OpenEmbedded(options_);
  ASSERT_TRUE(opened.ok()) << opened.status();
  auto collection = (*opened)->GetCollection("fixture");
  ASSERT_TRUE(collection.ok()) << collection.status();
  EXPECT_EQ((*collection)->options().dimension, 4);
  EXPECT_EQ((*collection)->options().model_id, "model@1");
  EXPECT_EQ((*collection)->options().model_fingerprint, "f00d");
  EXPECT_EQ((*collection)->options().index.kind, IndexKind::kHnsw);
  EXPECT_EQ((*collection)->options().index.hnsw_m, 8);
  EXPECT_EQ((*collection)->Count("")->count, 9u);
  EXPECT_EQ((*collection)->Count("colour = \"red\"")->count, 4u);
  const std::vector<std::string> ids{"image3"};
  auto got = (*collection)->Get(ids, true);
  ASSERT_TRUE((*got)[0].has_value());
  EXPECT_EQ((*got)[0]->content_hash, "abc3");
  EXPECT_EQ((*got)[0]->vector, (std::vector<float>{0, 0, 0, 1}));
  EXPECT_GE((*opened)->version(), 12u);
  collection->reset();
}

TEST_F(RecoveryTest, ASecondProcessIsRefused) {
  ASSERT_TRUE(Open().ok());
  auto second = OpenEmbedded(options_);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReasonOf(second.status()), "DATA_DIR_LOCKED");
  Close();
}

TEST_F(RecoveryTest, VersionsAndSlotsAreNeverReusedAfterDeletes) {
  ASSERT_TRUE(Open().ok());
  Write(0, 5, 1);
  const std::vector<std::string> ids{"i4", "i3"};
  const uint64_t version = collection_->Delete(ids)->version;
  Close();
  ASSERT_TRUE(Open().ok());
  EXPECT_EQ(database_->version(), version);
  auto result = collection_->Upsert({ContentItem("new", 1, kDimension)}, {});
  EXPECT_EQ(result->version, version + 1);
  // A reused slot would be one that the field index or a snapshot still knows as another image.
  EXPECT_EQ(collection_->Count("")->count, 4u);
  Close();
}

}  // namespace
}  // namespace imagesearch::index
