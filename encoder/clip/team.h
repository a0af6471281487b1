// How the threads of one parallel region share work whose pieces are independent.
#ifndef IMAGESEARCH_ENCODER_CLIP_TEAM_H_
#define IMAGESEARCH_ENCODER_CLIP_TEAM_H_

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <utility>
#include <vector>

namespace imagesearch::encoder {

// What each thread of a team has left to do. Every thread starts on a share of its own, the same
// in every run, so that weights stay in its core's cache; who is through helps the others from the
// end of theirs. So a thread that lost its core to a call's work for a while doesn't hold up the
// team at the next barrier.
class Claims {
 public:
  // For teams of up to `threads`. Not while a team is at work.
  void Reserve(int threads) {
    if (slots_.size() < static_cast<size_t>(threads)) {
      slots_ = std::vector<Slot>(static_cast<size_t>(threads));
    }
  }

  // Takes items of thread `owner`, from the front or from the back of what is left; an empty range
  // when nothing is. `share` is what the owner starts `phase` with.
  std::pair<int64_t, int64_t> Take(int owner, uint16_t phase, std::pair<int64_t, int64_t> share,
                                   bool front, int64_t least) {
    std::atomic<uint64_t>& left = slots_[static_cast<size_t>(owner)].left;
    uint64_t now = left.load(std::memory_order_relaxed);
    for (;;) {
      // Whoever comes first in a phase, owner or helper, sets up the share.
      const bool set_up = static_cast<uint16_t>(now >> 48) == phase;
      const auto [begin, end] =
          set_up ? std::pair<int64_t, int64_t>(now >> 24 & kMost, now & kMost) : share;
      if (set_up && begin == end) return {0, 0};
      // A quarter: few claims, and little that nobody can help with once a thread lost its core.
      const int64_t taken = std::min(end - begin, std::max(least, (end - begin) / 4));
      const int64_t rest_begin = front ? begin + taken : begin;
      const int64_t rest_end = front ? end : end - taken;
      const uint64_t rest = static_cast<uint64_t>(phase) << 48 |
                            static_cast<uint64_t>(rest_begin) << 24 |
                            static_cast<uint64_t>(rest_end);
      if (left.compare_exchange_weak(now, rest, std::memory_order_relaxed)) {
        return front ? std::pair(begin, rest_begin) : std::pair(rest_end, end);
      }
    }
  }

  static constexpr int64_t kMost = (int64_t{1} << 24) - 1;  // items of a phase

 private:
  struct alignas(64) Slot {
    std::atomic<uint64_t> left{0};  // phase (16 bits), begin (24), end (24)
  };
  std::vector<Slot> slots_;
};

// One thread of a team. All threads of a team call the same sequence of Divide and Share.
class Worker {
 public:
  Worker() = default;  // alone
  // `claims` is the team's, reserved for `count`; `phase` goes on from the team's last region.
  Worker(int index, int count, Claims* claims, uint16_t phase)
      : index_(index), count_(count), claims_(claims), phase_(phase) {}

  int index() const { return index_; }
  int count() const { return count_; }
  uint16_t phase() const { return phase_; }

  // This thread's fixed part of [0, items).
  std::pair<int64_t, int64_t> Share(int64_t items) const { return ShareOf(index_, items); }

  // Calls work(begin, end) for parts of [0, items), each at least `least` long where that many are
  // left, until the team has taken all of it. A barrier must follow before the team's next Divide.
  template <typename Work>
  void Divide(int64_t items, int64_t least, const Work& work) {
    if (count_ == 1 || items > Claims::kMost) {
      const auto [begin, end] = Share(items);
      if (begin < end) work(begin, end);
      return;
    }
    ++phase_;
    for (int i = 0; i < count_; ++i) {
      const int owner = (index_ + i) % count_;
      const auto share = ShareOf(owner, items);
      for (;;) {
        const auto [begin, end] = claims_->Take(owner, phase_, share, i == 0, least);
        if (begin == end) break;
        work(begin, end);
      }
    }
  }

 private:
  std::pair<int64_t, int64_t> ShareOf(int index, int64_t items) const {
    return {items * index / count_, items * (index + 1) / count_};
  }

  int index_ = 0, count_ = 1;
  Claims* claims_ = nullptr;
  uint16_t phase_ = 0;
};

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_CLIP_TEAM_H_
