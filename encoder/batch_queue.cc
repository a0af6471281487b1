// Lanes, bounds and the choice of the next batch.
#include "encoder/batch_queue.h"

#include <algorithm>
#include <limits>

#include "absl/status/status.h"

namespace imagesearch::encoder {
namespace {

constexpr double kLaneShareOfRoom = 0.75;
// Of each lane at most this many batches of decoded images wait: enough to keep the towers busy.
constexpr int kReadyBatches = 4;
// Every so many images that are decoded, one of the bulk lane goes first.
constexpr unsigned kBulkDecodeTurn = 8;

size_t IndexOf(Input::Kind kind) { return static_cast<size_t>(kind); }

bool SameInput(const Input& a, const Input& b) {
  if (a.kind != b.kind || a.data != b.data || a.crop.has_value() != b.crop.has_value()) {
    return false;
  }
  return !a.crop || (a.crop->left == b.crop->left && a.crop->top == b.crop->top &&
                     a.crop->right == b.crop->right && a.crop->bottom == b.crop->bottom);
}

// Texts run with others whose length has the same upper bound here: padding them to one length then
// wastes little.
size_t LengthClass(size_t tokens) {
  for (size_t bound : {8, 12, 16, 24, 32, 48}) {
    if (tokens <= bound) return bound;
  }
  return std::numeric_limits<size_t>::max();
}

}  // namespace

bool BatchQueue::HasRoom(Priority priority, uint64_t bytes, uint64_t pixels) const {
  const Lane& own = lane(priority);
  if (own.items == 0) return true;
  const Lane& other = lane(priority == Priority::kBulk ? Priority::kInteractive : Priority::kBulk);
  const auto fits = [](uint64_t own_use, uint64_t other_use, uint64_t more, uint64_t bound) {
    return own_use + other_use + more <= bound &&
           static_cast<double>(own_use + more) <= kLaneShareOfRoom * static_cast<double>(bound);
  };
  return fits(own.items, other.items, 1, static_cast<uint64_t>(options_.max_queued_items)) &&
         fits(own.bytes, other.bytes, bytes, options_.max_queued_bytes) &&
         fits(own.pixels, other.pixels, pixels, options_.max_queued_pixels);
}

ItemPtr BatchQueue::Find(const Input& input, uint64_t hash) const {
  const auto found = by_hash_.find(hash);
  return found != by_hash_.end() && SameInput(found->second->input, input) ? found->second
                                                                           : nullptr;
}

void BatchQueue::Account(const Item& item, int sign) {
  Lane& own = lane(item.lane);
  const auto add = [sign](uint64_t& total, uint64_t amount) {
    total = sign > 0 ? total + amount : total - amount;
  };
  add(own.items, 1);
  add(own.bytes, item.input.data.size());
  add(own.pixels, item.pixels);
  lane_stats(item.lane).queued_items = own.items;
  lane_stats(item.lane).queued_bytes = own.bytes;
}

std::deque<ItemPtr>* BatchQueue::QueueOf(const Item& item) {
  if (item.stage == Item::Stage::kUnprepared) return &lane(item.lane).unprepared;
  if (item.stage == Item::Stage::kReady) return &lane(item.lane).ready[IndexOf(item.input.kind)];
  return nullptr;
}

void BatchQueue::Add(ItemPtr item) {
  item->sequence = next_sequence_++;
  Account(*item, +1);
  QueueOf(*item)->push_back(item);
  // Should two different inputs have one hash, the later is not shared.
  by_hash_.try_emplace(item->hash, std::move(item));
}

void BatchQueue::Join(const ItemPtr& item, Waiter waiter) {
  if (item->lane == Priority::kBulk && waiter.lane == Priority::kInteractive) {
    std::deque<ItemPtr>* queue = QueueOf(*item);
    if (queue != nullptr) queue->erase(std::find(queue->begin(), queue->end(), item));
    Account(*item, -1);
    item->lane = Priority::kInteractive;
    Account(*item, +1);
    if (queue != nullptr) QueueOf(*item)->push_back(item);
  }
  if (item->input.kind == Input::Kind::kImage) ++stats.shared_in_flight;
  item->waiters.push_back(std::move(waiter));
}

ItemPtr BatchQueue::TakeUnprepared() {
  const auto ready_limit = static_cast<size_t>(kReadyBatches * options_.max_batch_images);
  const auto may_take = [&](Priority priority) {
    const Lane& from = lane(priority);
    return !from.unprepared.empty() &&
           from.ready[IndexOf(Input::Kind::kImage)].size() < ready_limit;
  };
  const bool bulk_turn = taken_ % kBulkDecodeTurn == kBulkDecodeTurn - 1;
  Priority from = bulk_turn ? Priority::kBulk : Priority::kInteractive;
  if (!may_take(from)) from = bulk_turn ? Priority::kInteractive : Priority::kBulk;
  if (!may_take(from)) return nullptr;
  ++taken_;
  ItemPtr item = std::move(lane(from).unprepared.front());
  lane(from).unprepared.pop_front();
  item->stage = Item::Stage::kPreparing;
  return item;
}

void BatchQueue::SetReady(const ItemPtr& item) {
  item->stage = Item::Stage::kReady;
  QueueOf(*item)->push_back(item);
}

bool BatchQueue::HasReady(Priority priority) const {
  const auto& ready = lane(priority).ready;
  return std::any_of(ready.begin(), ready.end(), [](const auto& queue) { return !queue.empty(); });
}

Input::Kind BatchQueue::OldestKind(Priority priority) const {
  const auto& texts = lane(priority).ready[IndexOf(Input::Kind::kText)];
  const auto& images = lane(priority).ready[IndexOf(Input::Kind::kImage)];
  if (texts.empty()) return Input::Kind::kImage;
  if (images.empty()) return Input::Kind::kText;
  return texts.front()->sequence < images.front()->sequence ? Input::Kind::kText
                                                            : Input::Kind::kImage;
}

std::vector<ItemPtr> BatchQueue::TakeBatch(const BatchCostModel& costs) {
  const bool interactive = HasReady(Priority::kInteractive), bulk = HasReady(Priority::kBulk);
  if (!interactive && !bulk) return {};
  Priority first = interactive ? Priority::kInteractive : Priority::kBulk;
  Input::Kind kind = OldestKind(first);
  int size = costs.BestSize(kind);
  if (interactive && bulk) {
    // Bulk work gets its turn when it has earned one, and no more than it has earned.
    const Input::Kind bulk_kind = OldestKind(Priority::kBulk);
    if (bulk_credit_ > 0 && bulk_credit_ >= costs.Seconds(bulk_kind, 1)) {
      first = Priority::kBulk;
      kind = bulk_kind;
      size = costs.BestSize(kind);
      while (size > 1 && costs.Seconds(kind, size) > bulk_credit_) --size;
    }
  }
  const size_t length_class =
      LengthClass(lane(first).ready[IndexOf(kind)].front()->prepared.tokens.size());
  std::vector<ItemPtr> batch;
  const auto take_from = [&](Priority priority) {
    auto& queue = lane(priority).ready[IndexOf(kind)];
    for (auto next = queue.begin(); next != queue.end() && static_cast<int>(batch.size()) < size;) {
      const bool fits = kind == Input::Kind::kImage ||
                        LengthClass((*next)->prepared.tokens.size()) == length_class;
      if (!fits) {
        ++next;
        continue;
      }
      (*next)->stage = Item::Stage::kRunning;
      batch.push_back(std::move(*next));
      next = queue.erase(next);
    }
  };
  take_from(first);
  if (first == Priority::kInteractive) take_from(Priority::kBulk);
  return batch;
}

void BatchQueue::Charge(const std::vector<ItemPtr>& batch, double seconds) {
  const auto bulk =
      static_cast<double>(std::count_if(batch.begin(), batch.end(), [](const ItemPtr& item) {
        return item->lane == Priority::kBulk;
      }));
  const auto all = static_cast<double>(batch.size());
  const bool both =
      (bulk > 0 || HasReady(Priority::kBulk)) && (bulk < all || HasReady(Priority::kInteractive));
  const double earned = options_.min_bulk_share * seconds - bulk / all * seconds;
  bulk_credit_ = both ? std::max(bulk_credit_ + earned, 0.0) : 0.0;
}

void BatchQueue::Erase(const ItemPtr& item) {
  Account(*item, -1);
  const auto found = by_hash_.find(item->hash);
  if (found != by_hash_.end() && found->second == item) by_hash_.erase(found);
}

std::vector<Waiter> BatchQueue::Finish(const ItemPtr& item) {
  Erase(item);
  return std::move(item->waiters);
}

bool BatchQueue::DropDeadWaiters(Item& item, SteadyTime now, Answers& answers) {
  std::vector<Waiter>& waiters = item.waiters;
  for (size_t i = 0; i < waiters.size();) {
    const bool cancelled = waiters[i].IsCancelled();
    if (!cancelled && now < waiters[i].deadline) {
      ++i;
      continue;
    }
    BatchingStats::Lane& counters = lane_stats(waiters[i].lane);
    ++(cancelled ? counters.dropped_cancelled : counters.dropped_expired);
    answers.push_back({std::move(waiters[i].done),
                       cancelled ? absl::CancelledError("cancelled while it waited to be encoded")
                                 : absl::DeadlineExceededError(
                                       "the deadline passed while it waited to be encoded")});
    waiters.erase(waiters.begin() + static_cast<std::ptrdiff_t>(i));
  }
  return waiters.empty();
}

void BatchQueue::DropDead(SteadyTime now, Answers& answers) {
  const auto sweep = [&](std::deque<ItemPtr>& queue) {
    for (size_t i = 0; i < queue.size();) {
      if (!DropDeadWaiters(*queue[i], now, answers)) {
        ++i;
        continue;
      }
      Erase(queue[i]);
      queue.erase(queue.begin() + static_cast<std::ptrdiff_t>(i));
    }
  };
  for (Lane& each : lanes_) {
    sweep(each.unprepared);
    for (auto& queue : each.ready) sweep(queue);
  }
}

double BatchQueue::SecondsAhead(Priority priority, const BatchCostModel& costs) const {
  const auto seconds_of = [&](const Lane& each) {
    const auto run = [&costs](Input::Kind kind, size_t count) {
      const int size = std::min(costs.BestSize(kind), static_cast<int>(count));
      return size == 0 ? 0.0 : costs.Seconds(kind, size) / size * static_cast<double>(count);
    };
    return run(Input::Kind::kText, each.ready[IndexOf(Input::Kind::kText)].size()) +
           run(Input::Kind::kImage,
               each.ready[IndexOf(Input::Kind::kImage)].size() + each.unprepared.size());
  };
  const double interactive = seconds_of(lane(Priority::kInteractive));
  const double bulk = seconds_of(lane(Priority::kBulk));
  if (priority == Priority::kBulk) return interactive + bulk;
  return bulk > 0 ? interactive / (1 - options_.min_bulk_share) : interactive;
}

size_t BatchQueue::UnpreparedAhead(Priority priority) const {
  const size_t interactive = lane(Priority::kInteractive).unprepared.size();
  return priority == Priority::kInteractive ? interactive
                                            : interactive + lane(Priority::kBulk).unprepared.size();
}

}  // namespace imagesearch::encoder
