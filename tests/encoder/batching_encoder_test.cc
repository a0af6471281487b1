// Batching over a fake encoder: sharing of batches, lanes, deadlines, bounds, errors.
#include "encoder/batching_encoder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/mutex.h"
#include "encoder/fake_encoder.h"

namespace imagesearch::encoder {
namespace {

constexpr absl::Duration kPatience = absl::Seconds(20);

// Answers of EncodeAsync, in the order in which they came.
class Answers {
 public:
  Encoder::Done Expect(const std::string& name) {
    return [this, name](absl::StatusOr<Embedding> result) {
      MutexLock lock(&mutex_);
      order_.push_back(name);
      results_.emplace_back(name, std::move(result));
      came_.SignalAll();
    };
  }
  bool Await(size_t count) {
    const auto deadline = CondVar::Clock::now() + absl::ToChronoNanoseconds(kPatience);
    MutexLock lock(&mutex_);
    while (order_.size() < count) {
      if (!came_.WaitUntil(&mutex_, deadline)) return order_.size() >= count;
    }
    return true;
  }
  std::vector<std::string> order() const {
    MutexLock lock(&mutex_);
    return order_;
  }
  absl::StatusOr<Embedding> of(const std::string& name) const {
    MutexLock lock(&mutex_);
    for (const auto& [each, result] : results_) {
      if (each == name) return result;
    }
    return absl::NotFoundError("no answer yet");
  }
  size_t count() const { return order().size(); }

 private:
  mutable Mutex mutex_;
  CondVar came_;
  std::vector<std::string> order_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::pair<std::string, absl::StatusOr<Embedding>>> results_ ABSL_GUARDED_BY(mutex_);
};

class BatchingEncoderTest : public ::testing::Test {
 protected:
  BatchingEncoderTest() { options_.measure_budget = absl::ZeroDuration(); }

  ~BatchingEncoderTest() override {
    if (fake_ != nullptr) fake_->Release();
    encoder_.reset();
  }

  void Start(const FakeEncoderOptions& fake = {}) {
    auto owned = std::make_unique<FakeEncoder>(fake);
    fake_ = owned.get();
    encoder_ = MakeBatchingEncoder(std::move(owned), options_);
  }
  // Occupies the towers with one image until Release().
  void Block(EncodeOptions options = {}) {
    fake_->Hold();
    encoder_->EncodeAsync(Input::Image("blocker"), options, answers_.Expect("blocker"));
    ASSERT_TRUE(fake_->AwaitEmbedRunning(kPatience));
  }
  void Send(const std::string& name, Input input, EncodeOptions options = {}) {
    encoder_->EncodeAsync(std::move(input), std::move(options), answers_.Expect(name));
  }
  void AwaitPrepared(int64_t count) {
    for (int i = 0; i < 2000 && fake_->prepared() < count; ++i) {
      absl::SleepFor(absl::Milliseconds(5));
    }
    ASSERT_GE(fake_->prepared(), count);
    absl::SleepFor(absl::Milliseconds(20));  // from Prepare() into the queue
  }

  static EncodeOptions Bulk() {
    EncodeOptions options;
    options.priority = Priority::kBulk;
    return options;
  }

  BatchingOptions options_;
  Answers answers_;
  FakeEncoder* fake_ = nullptr;
  std::unique_ptr<BatchingEncoder> encoder_;
};

TEST_F(BatchingEncoderTest, AnswersWithTheVectorsOfTheEncoderItDecorates) {
  Start();
  std::vector<Input> inputs = {Input::Text("cat"), Input::Image("a picture"), Input::Text("dog")};
  Input cropped = Input::Image("a picture");
  cropped.crop = CropBox{0, 0, 0.5, 0.5};
  inputs.push_back(cropped);
  const auto results = encoder_->Encode(inputs, {});
  for (size_t i = 0; i < inputs.size(); ++i) {
    ASSERT_TRUE(results[i].ok()) << results[i].status();
    EXPECT_EQ(results[i]->values, fake_->VectorOf(inputs[i])) << i;
  }
  EXPECT_NE(results[1]->values, results[3]->values);
}

TEST_F(BatchingEncoderTest, RequestsThatComeInMeanwhileShareTheNextBatch) {
  Start();
  Block();
  for (int i = 0; i < 8; ++i) Send(absl::StrCat(i), Input::Image(absl::StrCat("image", i)));
  AwaitPrepared(9);
  fake_->Release();
  ASSERT_TRUE(answers_.Await(9));
  // How many depends on what the batch before has taught; one by one they don't go.
  EXPECT_EQ(fake_->batches()[0].images, 1);
  EXPECT_GE(fake_->batches()[1].images, 4);
}

TEST_F(BatchingEncoderTest, ALoneRequestRunsAtOnceInABatchOfOne) {
  Start();
  Send("one", Input::Image("image"));
  ASSERT_TRUE(answers_.Await(1));
  EXPECT_EQ(fake_->batches()[0].images, 1);
}

TEST_F(BatchingEncoderTest, TextsAndImagesAndUnlikeLengthsBatchApart) {
  Start();
  Block();
  Send("image", Input::Image("image"));
  Send("short1", Input::Text("cat"));
  Send("short2", Input::Text("dog"));
  Send("long", Input::Text(std::string(60, 'x')));
  AwaitPrepared(5);
  fake_->Release();
  ASSERT_TRUE(answers_.Await(5));
  for (const FakeEncoder::Batch& batch : fake_->batches()) {
    EXPECT_TRUE(batch.images == 0 || batch.texts == 0);
    EXPECT_TRUE(batch.longest <= 20 || batch.texts == 1);
  }
  EXPECT_EQ(fake_->batches().size(), 4u);
}

TEST_F(BatchingEncoderTest, InteractiveWorkGoesBeforeBulkWorkThatCameEarlier) {
  options_.max_batch_images = 2;
  Start();
  Block(Bulk());
  for (int i = 0; i < 6; ++i) {
    Send(absl::StrCat("bulk", i), Input::Image(absl::StrCat("bulk", i)), Bulk());
  }
  AwaitPrepared(7);
  Send("first", Input::Image("interactive"));
  AwaitPrepared(8);
  fake_->Release();
  ASSERT_TRUE(answers_.Await(8));
  EXPECT_EQ(answers_.order()[1], "first");
  // Bulk work filled up the batch that it led.
  EXPECT_EQ(fake_->batches()[1].images, 2);
}

TEST_F(BatchingEncoderTest, BulkKeepsItsShareWhileInteractiveWorkNeverEnds) {
  options_.max_batch_images = 1;
  options_.min_bulk_share = 0.25;
  FakeEncoderOptions fake;
  fake.batch_time = absl::Milliseconds(2);
  Start(fake);
  Block();
  for (int i = 0; i < 40; ++i) {
    Send(absl::StrCat("interactive", i), Input::Image(absl::StrCat("interactive", i)));
    if (i < 10) Send(absl::StrCat("bulk", i), Input::Image(absl::StrCat("bulk", i)), Bulk());
  }
  for (int i = 0; i < 200 && fake_->prepared() < 9; ++i) absl::SleepFor(absl::Milliseconds(5));
  fake_->Release();
  ASSERT_TRUE(answers_.Await(51));
  const std::vector<std::string> order = answers_.order();
  int bulk_among_first = 0;
  for (int i = 0; i < 30; ++i) bulk_among_first += order[static_cast<size_t>(i)][0] == 'b';
  // The blocker counts as one; a quarter of the rest would be 7.
  EXPECT_GE(bulk_among_first, 5);
  EXPECT_LE(bulk_among_first, 12);
}

TEST_F(BatchingEncoderTest, CancelledAndExpiredWorkNeverReachesTheTowers) {
  Start();
  Block();
  auto cancelled = std::make_shared<std::atomic<bool>>(false);
  EncodeOptions cancellable, hasty;
  cancellable.cancelled = cancelled;
  hasty.deadline = absl::Now() + absl::Milliseconds(50);
  Send("cancelled", Input::Image("cancelled"), cancellable);
  Send("expired", Input::Image("expired"), hasty);
  Send("expired text", Input::Text("expired"), hasty);
  Send("fine", Input::Image("fine"));
  AwaitPrepared(5);
  cancelled->store(true);
  absl::SleepFor(absl::Milliseconds(60));
  fake_->Release();
  ASSERT_TRUE(answers_.Await(5));
  EXPECT_EQ(answers_.of("cancelled").status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(answers_.of("expired").status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(answers_.of("expired text").status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(answers_.of("fine").ok());
  EXPECT_EQ(fake_->embedded(), 2);  // the blocker and the fine one
  EXPECT_EQ(encoder_->stats().interactive.dropped_cancelled, 1u);
  EXPECT_EQ(encoder_->stats().interactive.dropped_expired, 2u);
}

TEST_F(BatchingEncoderTest, WhatIsOverBeforeItBeginsIsAnsweredAtOnce) {
  Start();
  EncodeOptions late, cancelled;
  late.deadline = absl::Now() - absl::Seconds(1);
  cancelled.cancelled = std::make_shared<std::atomic<bool>>(true);
  Send("late", Input::Image("image"), late);
  Send("cancelled", Input::Image("image"), cancelled);
  ASSERT_EQ(answers_.count(), 2u);
  EXPECT_EQ(answers_.of("late").status().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(answers_.of("cancelled").status().code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(fake_->prepared(), 0);
}

TEST_F(BatchingEncoderTest, ADeadlineThatTheQueueCannotMeetIsRefusedAtOnce) {
  options_.max_batch_images = 1;
  FakeEncoderOptions fake;
  fake.batch_time = absl::Milliseconds(40);
  Start(fake);
  ASSERT_TRUE(encoder_->Encode({Input::Image("teaches the cost")}, {})[0].ok());
  Block();
  for (int i = 0; i < 20; ++i) Send(absl::StrCat(i), Input::Image(absl::StrCat("image", i)));
  EncodeOptions hasty;
  hasty.deadline = absl::Now() + absl::Milliseconds(200);
  const absl::Time start = absl::Now();
  Send("hasty", Input::Image("hasty"), hasty);
  EXPECT_LT(absl::Now() - start, absl::Milliseconds(100));
  const absl::Status status = answers_.of("hasty").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReasonOf(status), "DEADLINE_UNREACHABLE");
  ASSERT_TRUE(RetryAfterOf(status).has_value());
  EXPECT_GE(*RetryAfterOf(status), absl::Milliseconds(400));
  EXPECT_EQ(encoder_->stats().interactive.refused_deadline, 1u);
}

TEST_F(BatchingEncoderTest, AFullQueueRefusesAndSaysWhenToRetry) {
  options_.max_queued_items = 8;
  Start();
  Block();
  for (int i = 0; i < 20; ++i) Send(absl::StrCat(i), Input::Image(absl::StrCat("image", i)));
  // Three quarters of the room, the blocker among them.
  EXPECT_EQ(answers_.count(), 15u);
  const absl::Status status = answers_.of("19").status();
  EXPECT_EQ(ReasonOf(status), "QUEUE_FULL");
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(RetryAfterOf(status).has_value());
  // The other lane still has room.
  Send("bulk", Input::Image("bulk"), Bulk());
  fake_->Release();
  ASSERT_TRUE(answers_.Await(22));
  EXPECT_TRUE(answers_.of("bulk").ok());
  EXPECT_EQ(encoder_->stats().interactive.refused_full, 15u);
  EXPECT_EQ(encoder_->stats().interactive.queued_items, 0u);
  EXPECT_EQ(encoder_->stats().interactive.queued_bytes, 0u);
}

TEST_F(BatchingEncoderTest, TheQueueIsBoundedInBytes) {
  options_.max_queued_bytes = 1000;
  Start();
  Block();
  Send("fits", Input::Image(std::string(700, 'a')));
  Send("too much", Input::Image(std::string(700, 'b')));
  EXPECT_EQ(ReasonOf(answers_.of("too much").status()), "QUEUE_FULL");
  Send("small", Input::Image("small"));
  fake_->Release();
  ASSERT_TRUE(answers_.Await(4));
  EXPECT_TRUE(answers_.of("fits").ok());
  EXPECT_TRUE(answers_.of("small").ok());
}

// A BMP header claims its size; the fake decodes anything.
Input Bmp(uint32_t width, uint32_t height, int salt) {
  std::string bytes("BM");
  const auto append = [&bytes](uint32_t value, int size) {
    for (int i = 0; i < size; ++i) bytes.push_back(static_cast<char>(value >> (8 * i)));
  };
  append(0, 4), append(static_cast<uint32_t>(salt), 4), append(54, 4), append(40, 4);
  append(width, 4), append(height, 4), append(1, 2), append(24, 2);
  bytes.append(24, '\0');
  return Input::Image(bytes);
}

TEST_F(BatchingEncoderTest, TheQueueIsBoundedInPixels) {
  options_.max_queued_pixels = 1'000'000;
  Start();
  Block();
  Send("fits", Bmp(1000, 700, 1));
  Send("too much", Bmp(1000, 700, 2));
  EXPECT_EQ(ReasonOf(answers_.of("too much").status()), "QUEUE_FULL");
  fake_->Release();
  ASSERT_TRUE(answers_.Await(3));
  EXPECT_TRUE(answers_.of("fits").ok());
}

// Found by sending a 100,000 x 100,000 header beside other work: it was QUEUE_FULL, with advice to
// try again, instead of what Prepare says of it.
TEST_F(BatchingEncoderTest, AnImageAboveTheLimitTakesNoRoomSoThatPrepareCanRefuseIt) {
  options_.max_queued_pixels = 1'000'000;
  options_.max_image_pixels = 800'000;
  Start();
  Block();
  Send("fits", Bmp(1000, 700, 1));
  Send("claims too much", Bmp(100'000, 10'000, 2));
  fake_->Release();
  ASSERT_TRUE(answers_.Await(3));
  EXPECT_NE(ReasonOf(answers_.of("claims too much").status()), "QUEUE_FULL");
}

TEST_F(BatchingEncoderTest, AStreamWaitsForRoomInsteadOfBeingRefused) {
  options_.max_queued_items = 4;
  FakeEncoderOptions fake;
  fake.batch_time = absl::Milliseconds(1);
  Start(fake);
  Block();
  EncodeOptions patient = Bulk();
  patient.wait_for_room = true;
  std::thread stream([&] {
    for (int i = 0; i < 30; ++i) {
      Send(absl::StrCat(i), Input::Image(absl::StrCat("image", i)), patient);
    }
  });
  absl::SleepFor(absl::Milliseconds(30));
  EXPECT_LE(encoder_->stats().bulk.queued_items, 3u);
  fake_->Release();
  stream.join();
  ASSERT_TRUE(answers_.Await(31));
  for (int i = 0; i < 30; ++i) EXPECT_TRUE(answers_.of(absl::StrCat(i)).ok());
}

TEST_F(BatchingEncoderTest, AStreamThatIsCancelledStopsWaitingForRoom) {
  options_.max_queued_items = 2;
  Start();
  Block();
  Send("fills the lane", Input::Image("fills"), Bulk());
  EncodeOptions patient = Bulk();
  patient.wait_for_room = true;
  auto cancelled = std::make_shared<std::atomic<bool>>(false);
  patient.cancelled = cancelled;
  std::thread stream([&] { Send("stream", Input::Image("stream"), patient); });
  absl::SleepFor(absl::Milliseconds(20));
  EXPECT_EQ(answers_.count(), 0u);
  cancelled->store(true);
  stream.join();
  EXPECT_EQ(answers_.of("stream").status().code(), absl::StatusCode::kCancelled);
}

TEST_F(BatchingEncoderTest, OneBadImageFailsAlone) {
  Start();
  const auto results = encoder_->Encode(
      {Input::Image("good"), Input::Image("bad"), Input::Text("nan"), Input::Text("good")}, {});
  EXPECT_TRUE(results[0].ok());
  EXPECT_EQ(ReasonOf(results[1].status()), "CORRUPT_IMAGE");
  EXPECT_EQ(results[2].status().code(), absl::StatusCode::kInternal);
  EXPECT_TRUE(results[3].ok());
}

TEST_F(BatchingEncoderTest, OutOfMemorySplitsTheBatchAndGoesOn) {
  FakeEncoderOptions fake;
  fake.out_of_memory_above = 3;
  Start(fake);
  Block();
  for (int i = 0; i < 16; ++i) Send(absl::StrCat(i), Input::Image(absl::StrCat("image", i)));
  AwaitPrepared(17);
  fake_->Release();
  ASSERT_TRUE(answers_.Await(17));
  for (int i = 0; i < 16; ++i) {
    const auto result = answers_.of(absl::StrCat(i));
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(result->values, fake_->VectorOf(Input::Image(absl::StrCat("image", i))));
  }
  // Later batches stay below.
  const size_t before = fake_->batches().size();
  Block();
  for (int i = 0; i < 8; ++i) Send(absl::StrCat("b", i), Input::Image(absl::StrCat("more", i)));
  AwaitPrepared(18 + 16 + 8);
  fake_->Release();
  ASSERT_TRUE(answers_.Await(26));
  for (size_t i = before; i < fake_->batches().size(); ++i) {
    EXPECT_LE(fake_->batches()[i].images, 3);
  }
}

TEST_F(BatchingEncoderTest, ASingleInputThatTakesTooMuchMemoryIsRefusedByName) {
  FakeEncoderOptions fake;
  fake.out_of_memory_above = 0;
  Start(fake);
  const auto results = encoder_->Encode({Input::Image("a"), Input::Image("b")}, {});
  for (const auto& result : results) EXPECT_EQ(ReasonOf(result.status()), "OUT_OF_MEMORY");
}

TEST_F(BatchingEncoderTest, ByteIdenticalImagesInFlightAreEncodedOnce) {
  Start();
  Block();
  for (int i = 0; i < 5; ++i) Send(absl::StrCat(i), Input::Image("the same"));
  Input cropped = Input::Image("the same");
  cropped.crop = CropBox{0, 0, 0.5, 1};
  Send("cropped", cropped);
  AwaitPrepared(3);
  fake_->Release();
  ASSERT_TRUE(answers_.Await(7));
  EXPECT_EQ(fake_->embedded(), 3);
  EXPECT_EQ(encoder_->stats().shared_in_flight, 4u);
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(answers_.of(absl::StrCat(i))->values, fake_->VectorOf(Input::Image("the same")));
  }
  EXPECT_EQ(answers_.of("cropped")->values, fake_->VectorOf(cropped));
}

TEST_F(BatchingEncoderTest, OneOfTheSharersLeavingDoesNotTakeTheOthersAway) {
  Start();
  Block();
  auto cancelled = std::make_shared<std::atomic<bool>>(false);
  EncodeOptions cancellable;
  cancellable.cancelled = cancelled;
  Send("leaves", Input::Image("the same"), cancellable);
  Send("stays", Input::Image("the same"));
  cancelled->store(true);
  fake_->Release();
  ASSERT_TRUE(answers_.Await(3));
  EXPECT_TRUE(answers_.of("stays").ok());
  EXPECT_EQ(answers_.of("leaves").status().code(), absl::StatusCode::kCancelled);
}

TEST_F(BatchingEncoderTest, AnInteractiveSharerTakesABulkImageIntoItsLane) {
  options_.max_batch_images = 1;
  Start();
  Block(Bulk());
  for (int i = 0; i < 4; ++i) {
    Send(absl::StrCat("bulk", i), Input::Image(absl::StrCat("bulk", i)), Bulk());
  }
  AwaitPrepared(5);
  Send("interactive", Input::Image("bulk3"));
  fake_->Release();
  ASSERT_TRUE(answers_.Await(6));
  EXPECT_THAT(answers_.order()[1], ::testing::AnyOf("bulk3", "interactive"));
  EXPECT_EQ(encoder_->stats().bulk.queued_items, 0u);
}

TEST_F(BatchingEncoderTest, ARecentTextIsAnsweredFromMemory) {
  options_.text_cache_entries = 2;
  Start();
  const auto encode = [&](const std::string& text) {
    return encoder_->Encode({Input::Text(text)}, {})[0]->values;
  };
  const std::vector<float> cat = encode("cat");
  EXPECT_EQ(encode("cat"), cat);
  EXPECT_EQ(fake_->embedded(), 1);
  EXPECT_EQ(encoder_->stats().text_cache_hits, 1u);
  encode("dog");
  encode("cat");
  encode("cow");  // the dog was used longest ago
  encode("cat");
  EXPECT_EQ(fake_->embedded(), 3);
  encode("dog");
  EXPECT_EQ(fake_->embedded(), 4);
}

TEST_F(BatchingEncoderTest, ATruncatedTextStaysTruncatedWhenItComesFromMemory) {
  Start();
  const Input text = Input::Text(std::string(200, 'x'));
  EXPECT_TRUE(encoder_->Encode({text}, {})[0]->truncated_text);
  EXPECT_TRUE(encoder_->Encode({text}, {})[0]->truncated_text);
}

TEST_F(BatchingEncoderTest, TheDestructorFinishesWhatIsQueued) {
  FakeEncoderOptions fake;
  fake.batch_time = absl::Milliseconds(2);
  fake.prepare_time = absl::Milliseconds(1);
  options_.max_batch_images = 4;
  Start(fake);
  for (int i = 0; i < 50; ++i) Send(absl::StrCat(i), Input::Image(absl::StrCat("image", i)));
  encoder_.reset();
  fake_ = nullptr;
  EXPECT_EQ(answers_.count(), 50u);
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(answers_.of(absl::StrCat(i)).ok());
}

TEST_F(BatchingEncoderTest, BatchesAreMeasuredAtStart) {
  options_.measure_budget = absl::Milliseconds(200);
  FakeEncoderOptions fake;
  fake.item_time = absl::Milliseconds(1);
  Start(fake);
  EXPECT_GE(fake_->batches().size(), 6u);
}

TEST_F(BatchingEncoderTest, TheHeartbeatBeatsWhileIdle) {
  Start();
  const absl::Time before = encoder_->stats().last_progress;
  absl::SleepFor(absl::Milliseconds(700));
  EXPECT_GT(encoder_->stats().last_progress, before);
}

// Notes the nice value of the threads that it runs on.
class NiceWatcher : public Encoder {
 public:
  NiceWatcher(std::atomic<int>* preparing, std::atomic<int>* embedding)
      : preparing_(*preparing), embedding_(*embedding) {}

  const ModelInfo& model() const override { return fake_.model(); }
  absl::StatusOr<Prepared> Prepare(const Input& input) const override {
    preparing_ = Nice();
    return fake_.Prepare(input);
  }
  std::vector<absl::StatusOr<Embedding>> Embed(
      const std::vector<const Prepared*>& prepared) override {
    embedding_ = Nice();
    return fake_.Embed(prepared);
  }

 private:
  static int Nice() { return getpriority(PRIO_PROCESS, static_cast<id_t>(gettid())); }

  FakeEncoder fake_{FakeEncoderOptions()};
  std::atomic<int>& preparing_;
  std::atomic<int>& embedding_;
};

TEST_F(BatchingEncoderTest, TheThreadsThatComputeTakeTheirNiceValue) {
  const int own = getpriority(PRIO_PROCESS, 0);
  options_.thread_nice = 19;
  std::atomic<int> preparing{-100}, embedding{-100};
  encoder_ = MakeBatchingEncoder(std::make_unique<NiceWatcher>(&preparing, &embedding), options_);
  Send("a", Input::Image("a"));
  ASSERT_TRUE(answers_.Await(1));
  EXPECT_EQ(preparing, 19);
  EXPECT_EQ(embedding, 19);
  EXPECT_EQ(getpriority(PRIO_PROCESS, 0), own);
}

TEST_F(BatchingEncoderTest, ManyThreadsOfBothLanesAllGetTheirOwnAnswers) {
  options_.max_queued_items = 64;
  FakeEncoderOptions fake;
  fake.item_time = absl::Microseconds(20);
  Start(fake);
  std::atomic<int> answered{0}, refused{0}, wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        const bool text = (i + t) % 3 == 0;
        const std::string data = absl::StrCat(text ? "t" : "i", (i * 7 + t) % 60);
        Input input = text ? Input::Text(data) : Input::Image(data);
        const std::vector<float> expected = fake_->VectorOf(input);
        EncodeOptions options;
        options.priority = i % 2 == 0 ? Priority::kBulk : Priority::kInteractive;
        options.wait_for_room = i % 5 == 0;
        if (i % 7 == 0) options.deadline = absl::Now() + absl::Milliseconds(i % 3);
        encoder_->EncodeAsync(std::move(input), options,
                              [&, expected](absl::StatusOr<Embedding> result) {
                                if (!result.ok()) {
                                  ++refused;
                                } else if (result->values != expected) {
                                  ++wrong;
                                }
                                ++answered;
                              });
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  encoder_.reset();
  fake_ = nullptr;
  EXPECT_EQ(answered, 400);
  EXPECT_EQ(wrong, 0);
  EXPECT_LT(refused, 400);
}

}  // namespace
}  // namespace imagesearch::encoder
