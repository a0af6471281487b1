// Re-embedding and compaction through gRPC; searches under load never mix
// models or fail.
#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/running_server.h"

namespace imagesearch::server {
namespace {

using ::testing::HasSubstr;

constexpr char kCollection[] = "photos";

encoder::FakeEncoderOptions NewModel() {
  encoder::FakeEncoderOptions options;
  options.model_id = "new@12345678";
  options.seed = 16;  // of the same dimension, so that only the scores tell
  options.item_time = absl::Microseconds(200);
  return options;
}

class ReembedTest : public ::testing::Test {
 protected:
  ReembedTest() {
    std::string pattern = ::testing::TempDir() + "/imagesearch_reembed_XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    pictures_ = pattern;
    running_ = std::make_unique<RunningServer>(
        [this](ServerConfig &config) { config.set_source_dir(pictures_); });
    new_model_ = &running_->AddModel(NewModel());
  }
  ~ReembedTest() override {
    running_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(pictures_, ignored);
  }

  void Create() {
    v1::CreateCollectionRequest request;
    request.mutable_collection()->set_name(kCollection);
    v1::CreateCollectionResponse response;
    ASSERT_EQ(Outcome(running_->admin().CreateCollection(Context().get(), request, &response)),
              "OK");
  }

  void WriteFile(const std::string &name, const std::string &content) {
    std::ofstream(pictures_ + "/" + name) << content;
  }

  // Stores an image, and its picture as the file of its id. "UNAVAILABLE MOVED"
  // is sent again, as clients do.
  std::string Put(const std::string &id) {
    WriteFile(id, "pixels of " + id);
    return Upload(id, "");
  }

  std::string Upload(const std::string &id, const std::string &path) {
    for (int attempt = 0;; ++attempt) {
      v1::UpsertRequest request;
      request.set_collection(kCollection);
      v1::Image *image = request.add_images();
      image->set_id(id);
      image->set_content("pixels of " + id);
      if (!path.empty()) {
        (*image->mutable_metadata()->mutable_fields())["path"].set_string_value(path);
      }
      (*image->mutable_metadata()->mutable_fields())["name"].set_string_value(id);
      v1::UpsertResponse response;
      const grpc::Status status = running_->images().Upsert(Context().get(), request, &response);
      const std::string outcome =
          status.ok() ? Outcome(response.results(0).status()) : Outcome(status);
      if (outcome != "UNAVAILABLE MOVED" || attempt == 10) return outcome;
      absl::SleepFor(absl::Milliseconds(20));
    }
  }

  // Nearest to the picture of `id`: its id and score.
  std::string Find(const std::string &id, float *score) {
    v1::SearchRequest request;
    request.set_collection(kCollection);
    request.mutable_query()->add_terms()->set_image("pixels of " + id);
    request.set_limit(1);
    v1::SearchResponse response;
    const std::string outcome =
        Outcome(running_->images().Search(Context().get(), request, &response));
    if (outcome != "OK" || response.hits().empty()) return outcome;
    *score = response.hits(0).score();
    return response.hits(0).id();
  }

  absl::StatusOr<v1::Operation> Reembed(bool leave_out_missing = false) {
    v1::ReembedRequest request;
    request.set_collection(kCollection);
    request.set_model("new");
    request.set_leave_out_missing(leave_out_missing);
    v1::Operation operation;
    const std::string outcome =
        Outcome(running_->admin().Reembed(Context().get(), request, &operation));
    if (outcome != "OK") return absl::UnknownError(outcome);
    return operation;
  }

  v1::Operation Await(const std::string &id, v1::Operation::State state) {
    v1::GetOperationRequest request;
    request.set_id(id);
    v1::Operation operation;
    for (int i = 0; i < 3000; ++i) {
      running_->admin().GetOperation(Context().get(), request, &operation);
      if (operation.state() == state) return operation;
      absl::SleepFor(absl::Milliseconds(10));
    }
    ADD_FAILURE() << operation.ShortDebugString();
    return operation;
  }

  v1::Collection Show() {
    v1::GetCollectionRequest request;
    request.set_collection(kCollection);
    v1::GetCollectionResponse response;
    EXPECT_EQ(Outcome(running_->admin().GetCollection(Context().get(), request, &response)), "OK");
    return response.collection();
  }

  std::string pictures_;
  std::unique_ptr<RunningServer> running_;
  encoder::FakeEncoder *new_model_ = nullptr;  // of before a Restart
};

TEST_F(ReembedTest, SearchesUnderLoadNeverFailAndNeverMixModels) {
  Create();
  constexpr int kImages = 300;
  for (int i = 0; i < kImages; ++i) ASSERT_EQ(Put(absl::StrCat("i", i)), "OK");
  std::atomic<bool> stop{false};
  std::atomic<int> searches{0}, written{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 2; ++t) {
    threads.emplace_back([&, t] {
      for (int i = t; !stop; i = (i + 7) % kImages) {
        const std::string id = absl::StrCat("i", i);
        float score = 0;
        // A vector of one model compared with one of the other would not have
        // this score.
        EXPECT_EQ(Find(id, &score), id);
        EXPECT_NEAR(score, 1, 1e-5);
        ++searches;
      }
    });
  }
  threads.emplace_back([&] {
    for (int i = 0; !stop; ++i) {
      EXPECT_EQ(Put(absl::StrCat("w", i)), "OK");
      written = i + 1;
      if (i % 10 == 9) {  // and some go
        v1::DeleteRequest request;
        request.set_collection(kCollection);
        request.add_ids(absl::StrCat("w", i - 5));
        v1::DeleteResponse response;
        const std::string outcome =
            Outcome(running_->images().Delete(Context().get(), request, &response));
        EXPECT_TRUE(outcome == "OK" || outcome == "UNAVAILABLE MOVED") << outcome;
      }
      absl::SleepFor(absl::Milliseconds(1));
    }
  });
  auto operation = Reembed();
  ASSERT_TRUE(operation.ok()) << operation.status();
  const v1::Operation done = Await(operation->id(), v1::Operation::SUCCEEDED);
  const int at_switch = searches;
  while (searches < at_switch + 100) absl::SleepFor(absl::Milliseconds(5));
  stop = true;
  for (std::thread &thread : threads) thread.join();

  EXPECT_EQ(Show().model_id(), "new@12345678");
  EXPECT_THAT(done.detail(), HasSubstr("cut over to new@12345678"));
  // Every write that was acknowledged is there, with its metadata, found by the
  // new model.
  int missing = 0;
  for (int i = 0; i < written; ++i) {
    v1::GetRequest get;
    get.set_collection(kCollection);
    get.add_ids(absl::StrCat("w", i));
    v1::GetResponse got;
    const std::string outcome = Outcome(running_->images().Get(Context().get(), get, &got));
    if (outcome != "OK") {
      ++missing;
      continue;
    }
    EXPECT_EQ(got.images(0).metadata().fields().at("name").string_value(), get.ids(0));
  }
  EXPECT_LE(missing, written / 10 + 1);  // those that were deleted
  EXPECT_GE(missing, written / 10 - 1);
  float score = 0;
  EXPECT_EQ(Find("w0", &score), "w0");
  EXPECT_NEAR(score, 1, 1e-5);
}

TEST_F(ReembedTest, RollBackAndFinish) {
  Create();
  ASSERT_EQ(Put("a"), "OK");
  auto operation = Reembed();
  ASSERT_TRUE(operation.ok()) << operation.status();
  Await(operation->id(), v1::Operation::SUCCEEDED);
  EXPECT_EQ(Reembed().status().message(), "FAILED_PRECONDITION SAME_MODEL");
  v1::RollbackReembedRequest back;
  back.set_collection(kCollection);
  v1::RollbackReembedResponse done;
  ASSERT_EQ(Outcome(running_->admin().RollbackReembed(Context().get(), back, &done)), "OK");
  EXPECT_NE(Show().model_id(), "new@12345678");
  float score = 0;
  EXPECT_EQ(Find("a", &score), "a");
  EXPECT_NEAR(score, 1, 1e-5);
  EXPECT_EQ(Reembed().status().message(), "FAILED_PRECONDITION PREVIOUS_KEPT");
  v1::FinishReembedRequest finish;
  finish.set_collection(kCollection);
  v1::FinishReembedResponse finished;
  ASSERT_EQ(Outcome(running_->admin().FinishReembed(Context().get(), finish, &finished)), "OK");
  EXPECT_EQ(Outcome(running_->admin().FinishReembed(Context().get(), finish, &finished)),
            "FAILED_PRECONDITION NOTHING_KEPT");
}

TEST_F(ReembedTest, ImagesWithoutAPictureBlockTheSwitchUntilTheyHaveOne) {
  Create();
  WriteFile("a.jpg", "pixels of a");
  WriteFile("b.jpg", "another picture");
  ASSERT_EQ(Upload("a", "a.jpg"), "OK");
  ASSERT_EQ(Upload("b", "b.jpg"), "OK");  // the file is not what was uploaded
  ASSERT_EQ(Upload("c", "../../../etc/hostname"), "OK");
  auto operation = Reembed();
  ASSERT_TRUE(operation.ok()) << operation.status();
  v1::Operation paused = Await(operation->id(), v1::Operation::PAUSED);
  EXPECT_THAT(paused.detail(), HasSubstr("2 images"));
  EXPECT_THAT(paused.detail(), HasSubstr(" b c"));
  EXPECT_NE(Show().model_id(), "new@12345678");
  WriteFile("b.jpg", "pixels of b");
  v1::DeleteRequest remove;
  remove.set_collection(kCollection);
  remove.add_ids("c");
  v1::DeleteResponse removed;
  ASSERT_EQ(Outcome(running_->images().Delete(Context().get(), remove, &removed)), "OK");
  v1::ResumeOperationRequest resume;
  resume.set_id(operation->id());
  v1::Operation resumed;
  ASSERT_EQ(Outcome(running_->admin().ResumeOperation(Context().get(), resume, &resumed)), "OK");
  Await(operation->id(), v1::Operation::SUCCEEDED);
  EXPECT_EQ(Show().model_id(), "new@12345678");
  EXPECT_EQ(Show().image_count(), 2u);
}

TEST_F(ReembedTest, MissingOnesAreLeftOutWhenAskedTo) {
  Create();
  ASSERT_EQ(Put("a"), "OK");
  ASSERT_EQ(Upload("b", ""), "OK");
  auto operation = Reembed(/*leave_out_missing=*/true);
  ASSERT_TRUE(operation.ok()) << operation.status();
  const v1::Operation done = Await(operation->id(), v1::Operation::SUCCEEDED);
  EXPECT_THAT(done.detail(), HasSubstr("left out 1 images"));
  EXPECT_EQ(Show().image_count(), 1u);
}

TEST_F(ReembedTest, ACancelledOneLeavesNothingBehind) {
  Create();
  ASSERT_EQ(Upload("a", ""), "OK");
  auto operation = Reembed();
  ASSERT_TRUE(operation.ok());
  Await(operation->id(), v1::Operation::PAUSED);
  v1::UnloadModelRequest unload;
  unload.set_model("new");
  v1::UnloadModelResponse unloaded;
  EXPECT_EQ(Outcome(running_->admin().UnloadModel(Context().get(), unload, &unloaded)),
            "FAILED_PRECONDITION MODEL_IN_USE");
  v1::CancelOperationRequest cancel;
  cancel.set_id(operation->id());
  v1::Operation cancelled;
  ASSERT_EQ(Outcome(running_->admin().CancelOperation(Context().get(), cancel, &cancelled)), "OK");
  const auto &database = (*running_->server().state().backend())->database;
  for (int i = 0; i < 500 && !database->ListReembeds().empty(); ++i) {
    absl::SleepFor(absl::Milliseconds(10));
  }
  EXPECT_TRUE(database->ListReembeds().empty());
  EXPECT_EQ(Show().image_count(), 1u);
}

TEST_F(ReembedTest, GoesOnAfterARestart) {
  Create();
  for (int i = 0; i < 50; ++i) ASSERT_EQ(Put(absl::StrCat("i", i)), "OK");
  new_model_->Hold();  // so that it can't end before it is paused
  auto operation = Reembed();
  ASSERT_TRUE(operation.ok());
  v1::PauseOperationRequest pause;
  pause.set_id(operation->id());
  v1::Operation paused;
  ASSERT_TRUE(new_model_->AwaitEmbedRunning(absl::Seconds(20)));
  EXPECT_EQ(Outcome(running_->admin().PauseOperation(Context().get(), pause, &paused)), "OK");
  new_model_->Release();
  ASSERT_EQ(Put("late"), "OK");
  running_->Restart("fake@00000000");
  EXPECT_EQ(Await(operation->id(), v1::Operation::PAUSED).id(), operation->id());
  v1::ResumeOperationRequest resume;
  resume.set_id(operation->id());
  ASSERT_EQ(Outcome(running_->admin().ResumeOperation(Context().get(), resume, &paused)), "OK");
  Await(operation->id(), v1::Operation::SUCCEEDED);
  EXPECT_EQ(Show().model_id(), "new@12345678");
  EXPECT_EQ(Show().image_count(), 51u);
}

TEST_F(ReembedTest, CompactIsAnOperation) {
  Create();
  ASSERT_EQ(Put("a"), "OK");
  v1::CompactRequest compact;
  v1::Operation operation;
  compact.set_collection("nothing");
  EXPECT_EQ(Outcome(running_->admin().Compact(Context().get(), compact, &operation)),
            "NOT_FOUND NO_SUCH_COLLECTION");
  compact.set_collection(kCollection);
  ASSERT_EQ(Outcome(running_->admin().Compact(Context().get(), compact, &operation)), "OK");
  Await(operation.id(), v1::Operation::SUCCEEDED);
  v1::ListOperationsRequest list;
  v1::ListOperationsResponse listed;
  list.set_collection(kCollection);
  ASSERT_EQ(Outcome(running_->admin().ListOperations(Context().get(), list, &listed)), "OK");
  ASSERT_EQ(listed.operations_size(), 1);
  EXPECT_EQ(listed.operations(0).kind(), v1::Operation::COMPACT);
}

}  // namespace
}  // namespace imagesearch::server
