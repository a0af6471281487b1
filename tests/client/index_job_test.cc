// Index jobs against the fake server: nothing is lost, nothing is sent twice, every picture is
// accounted for.
#include "client/bulk/index_job.h"

#include <filesystem>
#include <fstream>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "client/bulk/content_hash.h"
#include "client/bulk/progress.h"
#include "client/bulk/struct_json.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_server.h"
#include "tests/client/temp_folder.h"

namespace imagesearch::client {
namespace {

class IndexJobTest : public testing::Test {
 protected:
  IndexJobTest() {
    ClientOptions options;
    options.channel.target = server_.address();
    client_ = *Client::Connect(options);
    options_.journal_folder = state_.path();
  }

  IndexSummary Run(const std::vector<std::string>& names) {
    std::vector<std::unique_ptr<Source>> sources;
    for (const std::string& name : names) sources.push_back(*OpenSource(name, {}));
    failures_.clear();
    IndexJob job(
        client_.get(), options_,
        [this](const IndexJob::Failure& failure) { failures_.push_back(failure); }, nullptr);
    auto summary = job.Run(sources);
    EXPECT_TRUE(summary.ok()) << summary.status();
    const IndexCounts& c = summary->counts;
    EXPECT_EQ(c.seen, c.sent + c.unchanged + c.duplicates + c.failed);
    EXPECT_EQ(c.failed, failures_.size());
    return *summary;
  }
  IndexSummary Run() { return Run({folder_.path()}); }

  v1::StoredImage Get(const std::string& id) {
    v1::GetRequest request;
    request.add_ids(id);
    auto response = client_->Get(request);
    return response.ok() && response->images_size() == 1 ? response->images(0) : v1::StoredImage();
  }

  FakeServer server_;
  TempFolder folder_;
  TempFolder state_;
  std::unique_ptr<Client> client_;
  IndexOptions options_;
  std::vector<IndexJob::Failure> failures_;
};

TEST_F(IndexJobTest, TheIdIsTheContentHashAndThePathIsMetadata) {
  const std::string path = folder_.Write("a.png", "cat 1");
  EXPECT_EQ(Run().counts.sent, 1u);
  const v1::StoredImage image = Get(ContentHash("cat 1"));
  EXPECT_EQ(image.metadata().fields().at("path").string_value(), path);
}

TEST_F(IndexJobTest, ASecondRunSkipsWhatIsUnchanged) {
  for (int i = 0; i < 300; ++i) folder_.Write(absl::StrCat(i, ".png"), absl::StrCat("p ", i));
  EXPECT_EQ(Run().counts.sent, 300u);
  const int uploads = server_.uploads();
  const IndexSummary second = Run();
  EXPECT_EQ(second.counts.unchanged, 300u);
  EXPECT_EQ(second.counts.bytes_read, 0u);
  EXPECT_EQ(server_.uploads(), uploads);
}

TEST_F(IndexJobTest, WhatTheServerNoLongerHasIsSentAgain) {
  folder_.Write("a.png", "cat 1");
  folder_.Write("b.png", "cat 2");
  Run();
  v1::DeleteRequest request;
  request.add_ids(ContentHash("cat 1"));
  ASSERT_TRUE(client_->Delete(request).ok());
  const IndexSummary second = Run();
  EXPECT_EQ(second.counts.sent, 1u);
  EXPECT_EQ(second.counts.unchanged, 1u);
  EXPECT_EQ(server_.ImageCount("default"), 2u);
}

TEST_F(IndexJobTest, AChangedFileIsSentAndATouchedOneIsNot) {
  const std::string a = folder_.Write("a.png", "cat 1");
  const std::string b = folder_.Write("b.png", "cat 2");
  Run();
  folder_.Write("a.png", "cat 3");
  std::filesystem::last_write_time(
      b, std::filesystem::file_time_type::clock::now() + std::chrono::hours(1));
  const IndexSummary second = Run();
  EXPECT_EQ(second.counts.sent, 1u);
  EXPECT_EQ(second.counts.unchanged, 1u);
}

TEST_F(IndexJobTest, EqualFilesAreStoredOnceAndCounted) {
  folder_.Write("a.png", "cat 1");
  folder_.Write("b.png", "cat 1");
  folder_.Write("c.png", "cat 1");
  const IndexSummary summary = Run();
  EXPECT_EQ(summary.counts.sent, 1u);
  EXPECT_EQ(summary.counts.duplicates, 2u);
}

TEST_F(IndexJobTest, EqualFilesThatFailAllFail) {
  folder_.Write("a.png", "corrupt");
  folder_.Write("b.png", "corrupt");
  EXPECT_EQ(Run().counts.failed, 2u);
  EXPECT_EQ(ReasonOf(failures_[0].status), "CORRUPT_IMAGE");
}

TEST_F(IndexJobTest, WithPathsAsIdsEqualFilesAreKeptApart) {
  const std::string a = folder_.Write("a.png", "cat 1");
  folder_.Write("b.png", "cat 1");
  options_.id_from_path = true;
  EXPECT_EQ(Run().counts.sent, 2u);
  EXPECT_EQ(Get(a).id(), a);
}

TEST_F(IndexJobTest, AMovedFileGetsItsNewPathWithoutBeingSentAgain) {
  folder_.Write("old.png", "cat 1");
  Run();
  std::filesystem::rename(folder_ / "old.png", folder_ / "new.png");
  EXPECT_EQ(Run().counts.sent, 1u);
  const v1::StoredImage image = Get(ContentHash("cat 1"));
  EXPECT_EQ(image.metadata().fields().at("path").string_value(), folder_ / "new.png");
  EXPECT_EQ(image.content_hash(), ContentHash("cat 1"));
}

TEST_F(IndexJobTest, NewSideMetadataReachAnUnchangedFile) {
  folder_.Write("a.png", "cat 1");
  Run();
  FromJson(nlohmann::ordered_json{{"year", 2020}}, &options_.side_metadata["a.png"]);
  EXPECT_EQ(Run().counts.sent, 1u);
  EXPECT_EQ(Get(ContentHash("cat 1")).metadata().fields().at("year").number_value(), 2020);
  EXPECT_EQ(Run().counts.unchanged, 1u);
}

TEST_F(IndexJobTest, BadPicturesFailWithPathAndReasonAndTheRestGoesOn) {
  const std::string bad = folder_.Write("bad.png", "corrupt bytes");
  for (int i = 0; i < 20; ++i) folder_.Write(absl::StrCat(i, ".png"), absl::StrCat("p ", i));
  const IndexSummary summary = Run();
  EXPECT_EQ(summary.counts.sent, 20u);
  ASSERT_EQ(failures_.size(), 1u);
  EXPECT_EQ(failures_[0].path, bad);
  EXPECT_EQ(ReasonOf(failures_[0].status), "CORRUPT_IMAGE");
}

TEST_F(IndexJobTest, AFileBeyondTheMessageLimitFailsInsteadOfBreakingTheStream) {
  folder_.Write("huge.png", std::string(2 << 20, 'x'));  // the fake takes 1 MiB
  folder_.Write("small.png", "cat 1");
  const IndexSummary summary = Run();
  EXPECT_EQ(summary.counts.sent, 1u);
  EXPECT_EQ(summary.counts.failed, 1u);
  EXPECT_EQ(summary.connections, 1);
}

TEST_F(IndexJobTest, AStreamThatIsCutLosesNothing) {
  server_.faults().cut_stream_after = 30;
  for (int i = 0; i < 100; ++i) folder_.Write(absl::StrCat(i, ".png"), absl::StrCat("p ", i));
  EXPECT_EQ(Run().counts.sent, 100u);
  EXPECT_EQ(server_.ImageCount("default"), 100u);
}

TEST_F(IndexJobTest, TooManyFailuresStopTheJob) {
  options_.max_error_rate = 0.5;
  options_.uploader.window_images = 4;
  for (int i = 0; i < 2000; ++i) {
    folder_.Write(absl::StrCat(i, ".png"), absl::StrCat("corrupt ", i));
  }
  const IndexSummary summary = Run();
  EXPECT_EQ(ReasonOf(summary.stopped), "TOO_MANY_FAILURES");
  EXPECT_LT(summary.counts.seen, 2000u);
}

TEST_F(IndexJobTest, ADryRunSendsNothing) {
  folder_.Write("a.png", "cat 1");
  options_.dry_run = true;
  EXPECT_EQ(Run().counts.sent, 1u);
  EXPECT_EQ(server_.uploads(), 0);
  options_.dry_run = false;
  EXPECT_EQ(Run().counts.sent, 1u);  // the journal has not learned anything
}

TEST_F(IndexJobTest, SyncDeletesWhatIsGoneOrChangedAndNothingElse) {
  TempFolder other;
  folder_.Write("stays.png", "cat 1");
  folder_.Write("changes.png", "cat 2");
  folder_.Write("goes.png", "cat 3");
  other.Write("elsewhere.png", "dog 1");
  Run({folder_.path(), other.path()});
  folder_.Write("changes.png", "cat 22");
  std::filesystem::remove(folder_ / "goes.png");
  options_.sync = true;
  const IndexSummary summary = Run();
  EXPECT_EQ(summary.deleted, 2u);
  EXPECT_EQ(server_.ImageCount("default"), 3u);
  EXPECT_EQ(Get(ContentHash("dog 1")).id(), ContentHash("dog 1"));
}

TEST_F(IndexJobTest, SyncKeepsThePictureOfAFileThatNowFails) {
  folder_.Write("a.png", "cat 1");
  Run();
  folder_.Write("a.png", "corrupt now");
  options_.sync = true;
  EXPECT_EQ(Run().deleted, 0u);
  EXPECT_EQ(server_.ImageCount("default"), 1u);
}

TEST_F(IndexJobTest, AJournalLineCutByACrashCostsOneFileOnly) {
  for (int i = 0; i < 5; ++i) folder_.Write(absl::StrCat(i, ".png"), absl::StrCat("p ", i));
  Run();
  std::string journal;
  for (const auto& entry : std::filesystem::directory_iterator(state_.path())) {
    journal = entry.path().string();
  }
  std::filesystem::resize_file(journal, std::filesystem::file_size(journal) - 3);
  const IndexSummary second = Run();
  EXPECT_EQ(second.counts.unchanged, 4u);
  EXPECT_EQ(second.counts.sent, 1u);
  EXPECT_EQ(Run().counts.unchanged, 5u);
}

TEST_F(IndexJobTest, AMissingCollectionIsAnErrorBeforeAnythingIsRead) {
  folder_.Write("a.png", "cat 1");
  options_.collection = "absent";
  IndexJob job(client_.get(), options_, nullptr, nullptr);
  std::vector<std::unique_ptr<Source>> sources;
  sources.push_back(*OpenSource(folder_.path(), {}));
  EXPECT_EQ(ReasonOf(job.Run(sources).status()), "COLLECTION_NOT_FOUND");
}

TEST(JournalTest, APathOfTheServersChoosingStaysInTheFolder) {
  TempFolder state;
  auto journal = Journal::Open(state.path(), "../../etc/evil", "default");
  ASSERT_TRUE(journal.ok());
  EXPECT_EQ(std::filesystem::path((*journal)->path()).parent_path(), state.path());
}

TEST(JournalTest, NamesWithTabsAndNewlinesComeBack) {
  TempFolder state;
  const std::string path = "/a\tb\nc \xC3\xA9.png";
  const JournalEntry entry = {.content_hash = std::string(64, 'a'),
                              .sent_hash = std::string(64, 'b'),
                              .metadata_hash = "-",
                              .id = "x\ty",
                              .size = 7,
                              .modified_ns = -8};
  ASSERT_TRUE((*Journal::Open(state.path(), "i", "c"))->Record(path, entry).ok());
  auto journal = *Journal::Open(state.path(), "i", "c");
  ASSERT_EQ(journal->entries().count(path), 1u);
  EXPECT_EQ(journal->entries().at(path).id, "x\ty");
  EXPECT_EQ(journal->entries().at(path).modified_ns, -8);
}

TEST(JournalTest, SupersededLinesAreDroppedWhenItIsOpened) {
  TempFolder state;
  JournalEntry entry = {.content_hash = std::string(64, 'a'),
                        .sent_hash = std::string(64, 'b'),
                        .metadata_hash = "-",
                        .id = "x"};
  {
    auto journal = *Journal::Open(state.path(), "i", "c");
    for (int i = 0; i < 1500; ++i) {
      entry.size = i;
      ASSERT_TRUE(journal->Record("/a", entry).ok());
    }
  }
  auto journal = *Journal::Open(state.path(), "i", "c");
  EXPECT_EQ(journal->entries().at("/a").size, 1499u);
  EXPECT_LT(std::filesystem::file_size(journal->path()), 1000u);
}

TEST(ProgressLineTest, TellsRateAndTimeLeft) {
  IndexCounts counts;
  counts.seen = 60;
  counts.sent = 40;
  counts.failed = 10;
  counts.bytes_read = 5'000'000;
  EXPECT_EQ(ProgressLine(counts, 100, absl::Seconds(10)),
            "50 of 100 done, 10 failed, 5.0 images/s, 0.5 MB/s, 0:10 left");
  EXPECT_EQ(ProgressLine(counts, 0, absl::Seconds(10)),
            "50 done, 10 failed, 5.0 images/s, 0.5 MB/s");
}

}  // namespace
}  // namespace imagesearch::client
