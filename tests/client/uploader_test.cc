// Bulk uploads: every image gets one outcome, whatever the server and the network do.
#include "client/uploader.h"

#include <map>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_server.h"

namespace imagesearch::client {
namespace {

class UploaderTest : public testing::Test {
 protected:
  UploaderTest() {
    ClientOptions options;
    options.channel.target = server_.address();
    client_ = *Client::Connect(options);
  }

  Uploader::OnDone Record() {
    return [this](const Uploader::Outcome& outcome) {
      EXPECT_TRUE(outcomes_.emplace(outcome.token, outcome).second)
          << "two outcomes for " << outcome.token;
    };
  }

  static v1::Image Picture(int i) {
    v1::Image image;
    image.set_id(absl::StrCat("id", i));
    image.set_content(absl::StrCat("picture ", i));
    return image;
  }

  absl::Status Upload(int count, UploaderOptions options = {}) {
    Uploader uploader(client_.get(), options, Record());
    for (int i = 0; i < count; ++i) {
      if (absl::Status status = uploader.Add(i, Picture(i)); !status.ok()) break;
    }
    absl::Status status = uploader.Finish();
    connections_ = uploader.connections();
    return status;
  }

  int Succeeded() const {
    int count = 0;
    for (const auto& [token, outcome] : outcomes_) count += outcome.status.ok();
    return count;
  }

  FakeServer server_;
  std::unique_ptr<Client> client_;
  std::map<uint64_t, Uploader::Outcome> outcomes_;  // written by the uploader's thread alone
  int connections_ = 0;
};

TEST_F(UploaderTest, EveryImageIsAcknowledgedOnce) {
  ASSERT_TRUE(Upload(500).ok());
  EXPECT_EQ(outcomes_.size(), 500u);
  EXPECT_EQ(Succeeded(), 500);
  EXPECT_EQ(server_.ImageCount("default"), 500u);
  EXPECT_EQ(connections_, 1);
}

TEST_F(UploaderTest, NothingToUploadOpensNoStream) {
  ASSERT_TRUE(Upload(0).ok());
  EXPECT_EQ(connections_, 0);
}

TEST_F(UploaderTest, AStreamThatIsCutIsResumedWithTheRest) {
  server_.faults().cut_stream_after = 20;
  ASSERT_TRUE(Upload(90).ok());
  EXPECT_EQ(Succeeded(), 90);
  EXPECT_EQ(server_.ImageCount("default"), 90u);
  EXPECT_GE(connections_, 5);
}

TEST_F(UploaderTest, ARestartedServerIsFoundAgain) {
  UploaderOptions options;
  options.window_images = 4;
  Uploader uploader(client_.get(), options, Record());
  for (int i = 0; i < 60; ++i) {
    if (i == 30) server_.Restart();
    ASSERT_TRUE(uploader.Add(i, Picture(i)).ok());
  }
  ASSERT_TRUE(uploader.Finish().ok());
  EXPECT_EQ(Succeeded(), 60);
  EXPECT_EQ(server_.ImageCount("default"), 60u);
}

TEST_F(UploaderTest, AnOverloadedServerIsTriedAgain) {
  server_.faults().refuse_streams = 2;
  ASSERT_TRUE(Upload(10).ok());
  EXPECT_EQ(Succeeded(), 10);
  EXPECT_EQ(connections_, 3);
}

TEST_F(UploaderTest, ABadImageFailsAlone) {
  Uploader uploader(client_.get(), {}, Record());
  v1::Image bad = Picture(1);
  bad.set_content("corrupt");
  ASSERT_TRUE(uploader.Add(0, Picture(0)).ok());
  ASSERT_TRUE(uploader.Add(1, bad).ok());
  ASSERT_TRUE(uploader.Add(2, Picture(2)).ok());
  ASSERT_TRUE(uploader.Finish().ok());
  EXPECT_EQ(ReasonOf(outcomes_[1].status), "CORRUPT_IMAGE");
  EXPECT_EQ(Succeeded(), 2);
}

TEST_F(UploaderTest, ADiskThatIsFullForAMomentLosesNothing) {
  server_.faults().disk_full_items = 3;
  ASSERT_TRUE(Upload(10).ok());
  EXPECT_EQ(Succeeded(), 10);
}

TEST_F(UploaderTest, ADiskThatStaysFullFailsTheImageWithItsReason) {
  server_.faults().disk_full_items = 1'000'000;
  UploaderOptions options;
  options.item_attempts = 2;
  ASSERT_TRUE(Upload(3, options).ok());
  EXPECT_EQ(outcomes_.size(), 3u);
  EXPECT_EQ(ReasonOf(outcomes_[0].status), "DISK_FULL");
}

TEST_F(UploaderTest, ARefusalThatRetriesCannotCureEndsTheJob) {
  server_.faults().deny_streams = true;
  const absl::Status status = Upload(5);
  EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(ReasonOf(status), "WRONG_KEY");
  EXPECT_EQ(Succeeded(), 0);
  for (const auto& [token, outcome] : outcomes_) EXPECT_EQ(ReasonOf(outcome.status), "WRONG_KEY");
}

TEST_F(UploaderTest, AServerThatNeverAnswersIsGivenUp) {
  server_.faults().swallow_uploads = true;
  UploaderOptions options;
  options.give_up_after = absl::Seconds(1);
  options.window_images = 2;
  const absl::Status status = Upload(5, options);
  EXPECT_EQ(ReasonOf(status), "NO_PROGRESS");
  EXPECT_GE(outcomes_.size(), 2u);
}

TEST_F(UploaderTest, CancelAnswersForWhatIsLeft) {
  server_.faults().swallow_uploads = true;
  {
    Uploader uploader(client_.get(), {}, Record());
    ASSERT_TRUE(uploader.Add(7, Picture(7)).ok());
  }
  ASSERT_EQ(outcomes_.size(), 1u);
  EXPECT_EQ(outcomes_[7].status.code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace imagesearch::client
