// The framework of operations, with work that the test controls.
#include "server/operations/operations.h"

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace imagesearch::server {
namespace {

using ::testing::HasSubstr;

class OperationsTest : public ::testing::Test {
 protected:
  OperationsTest() {
    std::string pattern = ::testing::TempDir() + "/imagesearch_operations_XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    folder_ = pattern;
    Open();
  }
  ~OperationsTest() override {
    operations_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }

  void Open() {
    operations_.reset();
    auto opened = Operations::Open(folder_ + "/operations");
    ASSERT_TRUE(opened.ok()) << opened.status();
    operations_ = *std::move(opened);
  }

  static Operations::Spec Compaction(const std::string& collection = "c") {
    return {v1::Operation::COMPACT, collection, ""};
  }
  static Operations::Spec Resumable() { return {v1::Operation::REEMBED, "c", "how to go on"}; }

  // Works until the test or the framework ends it.
  Operations::Body Endless() {
    return [this](OperationRun& run) -> absl::Status {
      while (!finish_) {
        absl::Status status = run.Continue();
        if (!status.ok()) return status;
        run.Report(++steps_, 0);
        absl::SleepFor(absl::Milliseconds(1));
      }
      return absl::OkStatus();
    };
  }

  v1::Operation Await(const std::string& id, v1::Operation::State state) {
    v1::Operation operation;
    for (int i = 0; i < 5000; ++i) {
      auto got = operations_->Get(id);
      if (!got.ok()) break;
      operation = *got;
      if (operation.state() == state) return operation;
      absl::SleepFor(absl::Milliseconds(1));
    }
    ADD_FAILURE() << "never " << v1::Operation::State_Name(state) << ": "
                  << operation.ShortDebugString();
    return operation;
  }

  std::string folder_;
  std::atomic<bool> finish_{false};
  std::atomic<uint64_t> steps_{0};
  std::unique_ptr<Operations> operations_;
};

TEST_F(OperationsTest, WorkSucceedsOrFailsAndSaysWhy) {
  auto good = operations_->Start(Compaction("a"), [](OperationRun& run) {
    run.Report(3, 3);
    run.Describe("three");
    return absl::OkStatus();
  });
  ASSERT_TRUE(good.ok()) << good.status();
  EXPECT_THAT(good->id(), HasSubstr("compact-"));
  const v1::Operation done = Await(good->id(), v1::Operation::SUCCEEDED);
  EXPECT_EQ(done.done(), 3u);
  EXPECT_EQ(done.detail(), "three");
  EXPECT_TRUE(done.has_end_time());
  auto bad = operations_->Start(Compaction("b"), [](OperationRun&) {
    return Error(absl::StatusCode::kResourceExhausted, "DISK_FULL", "no room");
  });
  ASSERT_TRUE(bad.ok());
  EXPECT_EQ(Await(bad->id(), v1::Operation::FAILED).error().reason(), "DISK_FULL");
  auto thrown = operations_->Start(
      Compaction("d"), [](OperationRun&) -> absl::Status { throw std::runtime_error("oh"); });
  ASSERT_TRUE(thrown.ok());
  EXPECT_THAT(Await(thrown->id(), v1::Operation::FAILED).error().message(), HasSubstr("oh"));
  EXPECT_EQ(operations_->List()[0].id(), thrown->id());
}

TEST_F(OperationsTest, OneOfAKindForEachCollection) {
  auto first = operations_->Start(Compaction("a"), Endless());
  ASSERT_TRUE(first.ok());
  EXPECT_TRUE(operations_->IsActive(v1::Operation::COMPACT, "a"));
  EXPECT_EQ(ReasonOf(operations_->Start(Compaction("a"), Endless()).status()), "OPERATION_RUNNING");
  EXPECT_TRUE(operations_->Start(Compaction("b"), Endless()).ok());
  finish_ = true;
  Await(first->id(), v1::Operation::SUCCEEDED);
  EXPECT_TRUE(operations_->Start(Compaction("a"), Endless()).ok());
}

TEST_F(OperationsTest, NoMoreThanTheLimitAtATime) {
  for (int i = 0; i < Operations::kMaxActive; ++i) {
    ASSERT_TRUE(operations_->Start(Compaction(absl::StrCat(i)), Endless()).ok());
  }
  EXPECT_EQ(ReasonOf(operations_->Start(Compaction("more"), Endless()).status()),
            "TOO_MANY_OPERATIONS");
}

TEST_F(OperationsTest, TheHistoryIsBounded) {
  std::string last;
  for (int i = 0; i < Operations::kMaxEnded + 20; ++i) {
    auto operation =
        operations_->Start(Compaction(), [](OperationRun&) { return absl::OkStatus(); });
    ASSERT_TRUE(operation.ok()) << operation.status();
    last = operation->id();
    Await(last, v1::Operation::SUCCEEDED);
  }
  EXPECT_LE(operations_->List().size(), Operations::kMaxEnded + 2u);
  EXPECT_EQ(operations_->List()[0].id(), last);
}

TEST_F(OperationsTest, CancelEndsTheWork) {
  auto operation = operations_->Start(Compaction(), Endless());
  ASSERT_TRUE(operation.ok());
  auto cancelled = operations_->Cancel(operation->id());
  ASSERT_TRUE(cancelled.ok());
  EXPECT_EQ(cancelled->state(), v1::Operation::CANCELLED);
  EXPECT_EQ(ReasonOf(operations_->Cancel(operation->id()).status()), "OPERATION_ENDED");
  EXPECT_EQ(ReasonOf(operations_->Cancel("nothing").status()), "NO_SUCH_OPERATION");
  operations_->Stop();
  const uint64_t steps = steps_;
  absl::SleepFor(absl::Milliseconds(20));
  EXPECT_EQ(steps_, steps);
  EXPECT_EQ(operations_->Get(operation->id())->state(), v1::Operation::CANCELLED);
}

TEST_F(OperationsTest, OnlyWhatCanGoOnCanBePaused) {
  auto compaction = operations_->Start(Compaction(), Endless());
  ASSERT_TRUE(compaction.ok());
  EXPECT_EQ(ReasonOf(operations_->Pause(compaction->id()).status()), "NOT_PAUSABLE");
  auto other = operations_->Start(Resumable(), Endless());
  ASSERT_TRUE(other.ok());
  ASSERT_TRUE(operations_->Cancel(compaction->id()).ok());
  ASSERT_TRUE(operations_->Pause(other->id()).ok());
  absl::SleepFor(absl::Milliseconds(30));
  const uint64_t steps = steps_;
  absl::SleepFor(absl::Milliseconds(30));
  EXPECT_EQ(steps_, steps);
  ASSERT_TRUE(operations_->Resume(other->id()).ok());
  for (int i = 0; i < 5000 && steps_ == steps; ++i) absl::SleepFor(absl::Milliseconds(1));
  EXPECT_GT(steps_, steps);
}

TEST_F(OperationsTest, APausedOneCanBeCancelled) {
  auto operation = operations_->Start(Resumable(), Endless());
  ASSERT_TRUE(operation.ok());
  ASSERT_TRUE(operations_->Pause(operation->id()).ok());
  ASSERT_TRUE(operations_->Cancel(operation->id()).ok());
  operations_->Stop();  // would hang if the work still waited
  EXPECT_EQ(operations_->Get(operation->id())->state(), v1::Operation::CANCELLED);
}

TEST_F(OperationsTest, EndedAndInterruptedOnesAreListedAfterARestart) {
  auto ended = operations_->Start(Compaction("a"), [](OperationRun&) { return absl::OkStatus(); });
  ASSERT_TRUE(ended.ok());
  Await(ended->id(), v1::Operation::SUCCEEDED);
  auto running = operations_->Start(Compaction("b"), Endless());
  ASSERT_TRUE(running.ok());
  Open();
  EXPECT_EQ(operations_->Get(ended->id())->state(), v1::Operation::SUCCEEDED);
  const v1::Operation interrupted = *operations_->Get(running->id());
  EXPECT_EQ(interrupted.state(), v1::Operation::FAILED);
  EXPECT_EQ(interrupted.error().reason(), "INTERRUPTED");
}

TEST_F(OperationsTest, WhatCanGoOnGoesOnAfterARestart) {
  auto operation = operations_->Start(Resumable(), Endless());
  ASSERT_TRUE(operation.ok());
  while (steps_ == 0) absl::SleepFor(absl::Milliseconds(1));
  Open();
  const uint64_t steps = steps_;
  std::string told;
  operations_->Restore([&](const Operations::Spec& spec) {
    told = spec.collection + ": " + spec.resume;
    return Endless();
  });
  EXPECT_EQ(told, "c: how to go on");
  while (steps_ == steps) absl::SleepFor(absl::Milliseconds(1));
  finish_ = true;
  Await(operation->id(), v1::Operation::SUCCEEDED);
}

TEST_F(OperationsTest, APausedOneStaysPausedOverARestart) {
  auto operation = operations_->Start(Resumable(), Endless());
  ASSERT_TRUE(operation.ok());
  ASSERT_TRUE(operations_->Pause(operation->id()).ok());
  Open();
  steps_ = 0;
  operations_->Restore([&](const Operations::Spec&) { return Endless(); });
  absl::SleepFor(absl::Milliseconds(30));
  EXPECT_EQ(steps_, 0u);
  EXPECT_EQ(operations_->Get(operation->id())->state(), v1::Operation::PAUSED);
  ASSERT_TRUE(operations_->Resume(operation->id()).ok());
  while (steps_ == 0) absl::SleepFor(absl::Milliseconds(1));
}

TEST_F(OperationsTest, ADamagedLogIsTold) {
  operations_.reset();
  std::ofstream(folder_ + "/operations") << "no protobuf at all";
  EXPECT_EQ(ReasonOf(Operations::Open(folder_ + "/operations").status()), "STORE_CORRUPT");
}

}  // namespace
}  // namespace imagesearch::server
