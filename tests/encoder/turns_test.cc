// Several encoders on one machine: one batch at a time, equal shares of time.
#include "encoder/turns.h"

#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

#include "encoder/fake_encoder.h"
#include "gtest/gtest.h"

namespace imagesearch::encoder {
namespace {

void SleepMs(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

TEST(TurnsTest, NoTwoRunAtATime) {
  Turns turns;
  std::atomic<int> running{0}, most{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      const int user = turns.AddUser();
      for (int i = 0; i < 20; ++i) {
        Turns::Turn turn(&turns, user);
        most = std::max(most.load(), ++running);
        std::this_thread::yield();
        --running;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(most, 1);
}

// A model whose batches take ten times as long gets no more time than another.
TEST(TurnsTest, SharesAreOfTimeNotOfTurns) {
  Turns turns;
  const int slow = turns.AddUser(), quick = turns.AddUser();
  std::atomic<bool> stop{false};
  const auto work = [&](int user, int ms) {
    while (!stop) {
      Turns::Turn turn(&turns, user);
      SleepMs(ms);
    }
  };
  std::thread a(work, slow, 20), b(work, quick, 2);
  SleepMs(800);
  stop = true;
  a.join();
  b.join();
  const double share = turns.SecondsOf(slow) / (turns.SecondsOf(slow) + turns.SecondsOf(quick));
  EXPECT_GT(share, 0.35);
  EXPECT_LT(share, 0.65);
}

TEST(TurnsTest, WhoRestedHasSavedNothingUp) {
  Turns turns;
  const int busy = turns.AddUser(), rested = turns.AddUser();
  for (int i = 0; i < 5; ++i) {
    Turns::Turn turn(&turns, busy);
    SleepMs(20);
  }
  std::atomic<bool> stop{false};
  const auto work = [&](int user) {
    while (!stop) {
      Turns::Turn turn(&turns, user);
      SleepMs(5);
    }
  };
  const double before = turns.SecondsOf(busy);
  std::thread a(work, busy), b(work, rested);
  SleepMs(300);
  stop = true;
  a.join();
  b.join();
  const double mine = turns.SecondsOf(busy) - before, its = turns.SecondsOf(rested);
  EXPECT_GT(mine / (mine + its), 0.3);
}

TEST(TurnsTest, TheDecoratorChangesNoVector) {
  auto turns = std::make_shared<Turns>();
  auto first = MakeTurnTaking(std::make_unique<FakeEncoder>(), turns);
  FakeEncoderOptions other;
  other.seed = 16;
  auto second = MakeTurnTaking(std::make_unique<FakeEncoder>(other), turns);
  const auto a = first->Encode({Input::Text("cat")}, {});
  const auto b = second->Encode({Input::Text("cat")}, {});
  ASSERT_TRUE(a[0].ok() && b[0].ok());
  EXPECT_EQ(a[0]->values, FakeEncoder().VectorOf(Input::Text("cat")));
  EXPECT_NE(a[0]->values, b[0]->values);
}

}  // namespace
}  // namespace imagesearch::encoder
