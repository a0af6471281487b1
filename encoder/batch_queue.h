// What waits for the towers: items with their waiters, two lanes, bounds. The bookkeeping of
// batching_encoder.cc, without its threads.
#ifndef IMAGESEARCH_ENCODER_BATCH_QUEUE_H_
#define IMAGESEARCH_ENCODER_BATCH_QUEUE_H_

#include <array>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "encoder/batch_cost_model.h"
#include "encoder/batching_encoder.h"
#include "encoder/encoder.h"

namespace imagesearch::encoder {

using SteadyTime = std::chrono::steady_clock::time_point;

// Somebody who waits for an item.
struct Waiter {
  Encoder::Done done;
  Priority lane = Priority::kInteractive;
  SteadyTime deadline = SteadyTime::max();
  std::shared_ptr<const std::atomic<bool>> cancelled;  // may be null

  bool IsCancelled() const { return cancelled != nullptr && cancelled->load(); }
};

// One input on its way, and all who wait for it.
struct Item {
  enum class Stage { kUnprepared, kPreparing, kReady, kRunning };

  Input input;
  uint64_t hash = 0;
  uint64_t pixels = 0;  // as decoded, from the header
  uint64_t sequence = 0;
  Priority lane = Priority::kInteractive;
  Stage stage = Stage::kUnprepared;
  Prepared prepared;  // from kReady on; owned by the tower thread from kRunning on
  std::vector<Waiter> waiters;
};
using ItemPtr = std::shared_ptr<Item>;

// An answer to give once no lock is held.
struct Answer {
  Encoder::Done done;
  absl::StatusOr<Embedding> result;
};
using Answers = std::vector<Answer>;

// Not thread-safe.
class BatchQueue {
 public:
  explicit BatchQueue(const BatchingOptions& options) : options_(options) {}

  // Whether there is room for a new item of `lane`. An empty lane takes one item of any size.
  bool HasRoom(Priority lane, uint64_t bytes, uint64_t pixels) const;

  // The item in flight that equals `input`, or null.
  ItemPtr Find(const Input& input, uint64_t hash) const;

  // Adds an item with its first waiter: `item->stage` is kUnprepared or, prepared already, kReady.
  void Add(ItemPtr item);
  // Adds a waiter to an item in flight; an interactive one takes a bulk item with it.
  void Join(const ItemPtr& item, Waiter waiter);

  // The next item to decode, now kPreparing; null while there is none, or enough are ready.
  ItemPtr TakeUnprepared();
  // Its decoding is done.
  void SetReady(const ItemPtr& item);

  // Items of one kind to run together, now kRunning; empty while none is ready.
  std::vector<ItemPtr> TakeBatch(const BatchCostModel& costs);
  // The towers spent `seconds` on `batch`: keeps the account of bulk's share.
  void Charge(const std::vector<ItemPtr>& batch, double seconds);

  // Takes the item out and hands over its waiters.
  std::vector<Waiter> Finish(const ItemPtr& item);

  // Answers and forgets the waiters that are cancelled or past their deadline, and the queued items
  // that nobody waits for any more.
  void DropDead(SteadyTime now, Answers& answers);

  // Seconds until the towers are through with what waits ahead of a new item of `lane`, the running
  // batch aside.
  double SecondsAhead(Priority lane, const BatchCostModel& costs) const;
  // Images of `lane`, or ahead of it, that wait for decoding.
  size_t UnpreparedAhead(Priority lane) const;

  bool empty() const { return lanes_[0].items + lanes_[1].items == 0; }

  // The lanes' gauges and counters are kept here, the rest by the owner.
  BatchingStats stats;

 private:
  struct Lane {
    std::deque<ItemPtr> unprepared;
    // By kind, then in order of arrival.
    std::array<std::deque<ItemPtr>, 2> ready;
    uint64_t items = 0, bytes = 0, pixels = 0;  // in flight
  };

  Lane& lane(Priority priority) { return lanes_[static_cast<size_t>(priority)]; }
  const Lane& lane(Priority priority) const { return lanes_[static_cast<size_t>(priority)]; }
  BatchingStats::Lane& lane_stats(Priority priority) {
    return priority == Priority::kInteractive ? stats.interactive : stats.bulk;
  }
  // The queue that an item of that stage waits in; null for the other stages.
  std::deque<ItemPtr>* QueueOf(const Item& item);
  void Account(const Item& item, int sign);
  void Erase(const ItemPtr& item);
  bool DropDeadWaiters(Item& item, SteadyTime now, Answers& answers);
  bool HasReady(Priority priority) const;
  // The kind of which a ready item of the lane has waited longest.
  Input::Kind OldestKind(Priority priority) const;

  const BatchingOptions options_;
  std::array<Lane, 2> lanes_;
  absl::flat_hash_map<uint64_t, ItemPtr> by_hash_;
  uint64_t next_sequence_ = 0;
  unsigned taken_ = 0;  // items handed out for decoding
  // Towers' time that bulk work has earned, while interactive work waited too, and not had yet.
  double bulk_credit_ = 0;
};

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_BATCH_QUEUE_H_
