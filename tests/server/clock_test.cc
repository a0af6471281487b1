// The wall clock jumps by a day while calls run: none fails, none is late, the server stays live.
// absl::Now(), by which this program reads the wall clock, is this test's own: its definition here
// stands in for the one in the shared library.
#include "absl/time/clock.h"

#include <atomic>
#include <chrono>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/steady_time.h"
#include "encoder/batching_encoder.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "gtest/gtest.h"
#include "tests/server/running_server.h"

namespace {
std::atomic<int64_t> jump_seconds{0};
}

namespace absl {
ABSL_NAMESPACE_BEGIN
Time Now() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return TimeFromTimespec(now) + Seconds(jump_seconds.load());
}
ABSL_NAMESPACE_END
}  // namespace absl

namespace imagesearch::server {
namespace {

constexpr int64_t kDay = 24 * 3600;
constexpr int kJumps = 100;

class ClockTest : public ::testing::Test {
 protected:
  ~ClockTest() override { jump_seconds = 0; }
};

TEST_F(ClockTest, SteadyNowRunsOnOverAJump) {
  const absl::Time before = SteadyNow();
  jump_seconds = kDay;
  ASSERT_GT(absl::Now() - before, absl::Hours(23));  // the test's clock is in force
  EXPECT_LT(SteadyNow() - before, absl::Hours(1));
  jump_seconds = -kDay;
  EXPECT_GE(SteadyNow(), before);
}

TEST_F(ClockTest, AnInputThatWaitsForTheTowersKeepsItsDeadline) {
  auto inner = std::make_unique<encoder::FakeEncoder>();
  encoder::FakeEncoder* const fake = inner.get();
  const auto batching = encoder::MakeBatchingEncoder(std::move(inner), {});
  fake->Hold();
  std::atomic<int> ok{0}, ended{0};
  const auto submit = [&](const std::string& text) {
    encoder::EncodeOptions options;
    options.deadline = SteadyNow() + absl::Minutes(10);
    batching->EncodeAsync(encoder::Input::Text(text), options, [&](const auto& embedding) {
      ok += embedding.ok();
      ++ended;
    });
  };
  submit("running");
  ASSERT_TRUE(fake->AwaitEmbedRunning(absl::Seconds(10)));
  submit("waiting");
  jump_seconds = kDay;
  submit("after the jump");
  fake->Release();
  for (int i = 0; i < 1000 && ended < 3; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(ok, 3);
  EXPECT_LT(SteadyNow() - batching->stats().last_progress, absl::Minutes(1));
}

TEST_F(ClockTest, AHundredJumpsByADayFailNoCallAndDelayNone) {
  encoder::FakeEncoderOptions fake;
  fake.item_time = absl::Milliseconds(1);
  RunningServer running([](ServerConfig& config) { config.set_probe_interval_ms(50); }, true, fake);
  running.Put("stays", "picture 0");

  std::atomic<bool> stop{false};
  std::mutex mutex;
  std::map<std::string, int> outcomes;
  double slowest = 0;
  const auto work = [&](int thread) {
    for (int n = 0; !stop; ++n) {
      const auto begin = std::chrono::steady_clock::now();
      std::string outcome;
      if (n % 3 == 0) {
        v1::UpsertRequest request;
        request.add_images()->set_id(absl::StrCat(thread));
        request.mutable_images(0)->set_content(absl::StrCat("picture ", thread, " ", n));
        v1::UpsertResponse response;
        outcome = Outcome(running.images().Upsert(Context().get(), request, &response));
        if (outcome == "OK") outcome = Outcome(response.results(0).status());
      } else {
        v1::SearchRequest request;
        request.mutable_query()->add_terms()->set_text(absl::StrCat("text ", thread, " ", n));
        v1::SearchResponse response;
        outcome = Outcome(running.images().Search(Context().get(), request, &response));
        if (outcome == "OK" && response.hits().empty()) outcome = "nothing found";
      }
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
      std::lock_guard<std::mutex> lock(mutex);
      ++outcomes[outcome];
      slowest = std::max(slowest, took.count());
    }
  };
  std::vector<std::thread> workers;
  for (int thread = 0; thread < 4; ++thread) workers.emplace_back(work, thread);
  const auto live = [&running] {
    grpc::health::v1::HealthCheckRequest request;
    request.set_service("live");
    grpc::health::v1::HealthCheckResponse response;
    const grpc::Status status = grpc::health::v1::Health::NewStub(running.channel())
                                    ->Check(Context().get(), request, &response);
    return status.ok() && response.status() == grpc::health::v1::HealthCheckResponse::SERVING;
  };
  for (int jump = 0; jump < kJumps; ++jump) {
    jump_seconds = jump % 3 == 0 ? kDay : jump % 3 == 1 ? -kDay : 0;
    std::this_thread::sleep_for(std::chrono::milliseconds(60));
    EXPECT_TRUE(live()) << jump;
  }
  stop = true;
  for (std::thread& worker : workers) worker.join();
  const int calls = outcomes["OK"];
  EXPECT_EQ(outcomes.size(), 1u) << outcomes.rbegin()->first;
  EXPECT_GE(calls, 10 * kJumps) << "void: too few calls beside the jumps";
  EXPECT_LT(slowest, 5);  // of their 10 s
  RecordProperty("calls", calls);
  std::printf("%d jumps, %d calls, the slowest took %.0f ms\n", kJumps, calls, 1000 * slowest);
}

TEST_F(ClockTest, WhatExpiredStaysExpiredWhenTheClockIsSetBack) {
  RunningServer running;
  running.Put("stays", "picture");
  v1::UpsertRequest request;
  request.add_images()->set_id("an hour");
  request.mutable_images(0)->set_content("another picture");
  request.mutable_images(0)->mutable_expire_time()->set_seconds(
      absl::ToUnixSeconds(absl::Now() + absl::Hours(1)));
  v1::UpsertResponse response;
  ASSERT_EQ(Outcome(running.images().Upsert(Context().get(), request, &response)), "OK");
  const auto count = [&running] {
    v1::CountResponse counted;
    EXPECT_TRUE(running.images().Count(Context().get(), v1::CountRequest(), &counted).ok());
    return counted.count();
  };
  EXPECT_EQ(count(), 2u);
  jump_seconds = 2 * 3600;
  EXPECT_EQ(count(), 1u);
  jump_seconds = -kDay;
  EXPECT_EQ(count(), 1u);
}

}  // namespace
}  // namespace imagesearch::server
