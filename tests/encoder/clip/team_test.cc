// Sharing of work in a team: every piece once, and nobody waits for a thread that lost its core.
#include "encoder/clip/team.h"

#include <gtest/gtest.h>

#include <atomic>
#include <barrier>
#include <thread>
#include <vector>

namespace imagesearch::encoder {
namespace {

// Runs `body` with each of `count` workers of one team.
template <typename Body>
void RunTeam(int count, Claims& claims, uint16_t phase, const Body& body) {
  claims.Reserve(count);
  std::vector<std::thread> threads;
  for (int i = 0; i < count; ++i) {
    threads.emplace_back([&, i] {
      Worker me(i, count, &claims, phase);
      body(me);
    });
  }
  for (std::thread& thread : threads) thread.join();
}

TEST(TeamTest, EveryItemIsTakenOnceInEveryPhase) {
  constexpr int kThreads = 3, kPhases = 400;
  Claims claims;
  std::barrier barrier(kThreads);
  std::vector<std::vector<std::atomic<int>>> taken;
  // Fewer items than threads, and none, among them; the phase number wraps around.
  for (int phase = 0; phase < kPhases; ++phase) taken.emplace_back(phase % 53);
  RunTeam(kThreads, claims, 65'400, [&](Worker& me) {
    for (auto& items : taken) {
      me.Divide(static_cast<int64_t>(items.size()), 1 + me.phase() % 3,
                [&](int64_t begin, int64_t end) {
                  ASSERT_LT(begin, end);
                  for (int64_t i = begin; i < end; ++i) ++items[static_cast<size_t>(i)];
                });
      barrier.arrive_and_wait();
    }
  });
  for (const auto& items : taken) {
    for (const auto& times : items) ASSERT_EQ(times, 1);
  }
}

TEST(TeamTest, OthersDoTheWorkOfAThreadThatIsHeldUp) {
  constexpr int kItems = 100;
  Claims claims;
  std::atomic<int> done{0}, held{0};
  RunTeam(2, claims, 0, [&](Worker& me) {
    bool first = me.index() == 0;
    me.Divide(kItems, 1, [&](int64_t begin, int64_t end) {
      if (first) {
        first = false;
        held = static_cast<int>(end - begin);
        // Until the other has done all that this thread had not claimed yet.
        while (done < kItems - held) std::this_thread::yield();
      }
      done += static_cast<int>(end - begin);
    });
  });
  EXPECT_EQ(done, kItems);
  EXPECT_LE(held, kItems / 8);
}

TEST(TeamTest, AloneTakesAllAtOnce) {
  Worker one;
  int calls = 0;
  one.Divide(7, 1, [&](int64_t begin, int64_t end) {
    ++calls;
    EXPECT_EQ(begin, 0);
    EXPECT_EQ(end, 7);
  });
  one.Divide(0, 1, [&](int64_t, int64_t) { ++calls; });
  EXPECT_EQ(calls, 1);
}

}  // namespace
}  // namespace imagesearch::encoder
