// The threads around BatchQueue: a pool that decodes, and one that runs the towers.
#include "encoder/batching_encoder.h"

#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <new>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/hash/hash.h"
#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/mutex.h"
#include "base/steady_time.h"
#include "encoder/batch_cost_model.h"
#include "encoder/batch_queue.h"
#include "encoder/image/header.h"
#include "encoder/text_cache.h"

namespace imagesearch::encoder {
namespace {

using Clock = std::chrono::steady_clock;

constexpr auto kHeartbeat = std::chrono::milliseconds(500);
// How often a caller that waits for room looks whether it was cancelled.
constexpr auto kCancelPoll = std::chrono::milliseconds(50);
constexpr absl::Duration kShortestRetry = absl::Milliseconds(50);
constexpr absl::Duration kLongestRetry = absl::Seconds(5);
constexpr double kLearningRate = 0.1;

// Threads made by this one, such as those of the towers' teams, take its nice value over.
void SetNice(int nice) {
  if (nice > 0) setpriority(PRIO_PROCESS, static_cast<id_t>(gettid()), nice);
}

SteadyTime ToSteady(absl::Time deadline) {
  const absl::Duration left = deadline - SteadyNow();
  if (left > absl::Hours(24 * 365)) return SteadyTime::max();
  return Clock::now() + absl::ToChronoNanoseconds(left);
}

SteadyTime After(SteadyTime time, double seconds) {
  return time + std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds));
}

double SecondsSince(SteadyTime start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

absl::Status OutOfMemory() {
  return Error(absl::StatusCode::kResourceExhausted, "OUT_OF_MEMORY",
               "the encoder ran out of memory");
}

bool IsOutOfMemory(const absl::StatusOr<Embedding>& result) {
  return !result.ok() && ReasonOf(result.status()) == "OUT_OF_MEMORY";
}

// What one item's preparation throws is that item's error.
absl::StatusOr<Prepared> PrepareSafely(const Encoder& encoder, const Input& input) {
  try {
    return encoder.Prepare(input);
  } catch (const std::bad_alloc&) {
    return OutOfMemory();
  } catch (const std::exception& e) {
    return absl::InternalError(absl::StrCat("preparing an input failed: ", e.what()));
  }
}

class BatchingEncoderImpl final : public BatchingEncoder {
 public:
  BatchingEncoderImpl(std::unique_ptr<Encoder> inner, const BatchingOptions& options)
      : options_(options),
        inner_(std::move(inner)),
        cache_(options.text_cache_entries),
        queue_(options),
        costs_(options.max_batch_images, options.max_batch_texts) {
    if (options.measure_budget > absl::ZeroDuration()) {
      costs_.Measure(*inner_, options.measure_budget);
    }
    queue_.stats.last_progress = SteadyNow();
    for (int i = 0; i < std::max(options.prepare_threads, 1); ++i) {
      prepare_threads_.emplace_back([this] {
        SetNice(options_.thread_nice);
        PrepareLoop();
      });
    }
    tower_thread_ = std::thread([this] {
      SetNice(options_.thread_nice);
      TowerLoop();
    });
  }

  ~BatchingEncoderImpl() override {
    {
      MutexLock lock(&mutex_);
      stopping_ = true;
    }
    work_.SignalAll();
    for (std::thread& thread : prepare_threads_) thread.join();
    tower_thread_.join();
  }

  const ModelInfo& model() const override { return inner_->model(); }

  absl::StatusOr<Prepared> Prepare(const Input& input) const override {
    return inner_->Prepare(input);
  }

  std::vector<absl::StatusOr<Embedding>> Embed(
      const std::vector<const Prepared*>& prepared) override {
    return inner_->Embed(prepared);
  }

  void EncodeAsync(Input input, EncodeOptions options, Done done) override;

  BatchingStats stats() const override {
    MutexLock lock(&mutex_);
    return queue_.stats;
  }

 private:
  // OK with the waiter taken over, or the reason why it is refused with the waiter left alone.
  absl::Status Enqueue(ItemPtr item, Waiter& waiter, bool wait_for_room, Answers& answers);
  absl::Status AwaitRoom(const Item& item, const Waiter& waiter, bool wait_for_room,
                         Answers& answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Seconds until a new item of that lane would be done.
  double SecondsNeeded(const Item& item, Priority lane) const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  void PrepareLoop();
  void TowerLoop();
  // Runs a batch, in parts when memory runs out.
  std::vector<absl::StatusOr<Embedding>> Run(const std::vector<const Prepared*>& batch);
  void Finish(const std::vector<ItemPtr>& batch, std::vector<absl::StatusOr<Embedding>> results,
              Answers& answers) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  static void Give(Answers& answers) {
    for (Answer& answer : answers) std::move(answer.done)(std::move(answer.result));
    answers.clear();
  }

  const BatchingOptions options_;
  const std::unique_ptr<Encoder> inner_;
  TextCache cache_;

  mutable Mutex mutex_;
  CondVar work_;  // for the threads: something to prepare or to run, or the end
  CondVar room_;  // for callers that wait for room
  BatchQueue queue_ ABSL_GUARDED_BY(mutex_);
  BatchCostModel costs_ ABSL_GUARDED_BY(mutex_);
  SteadyTime running_until_ ABSL_GUARDED_BY(mutex_) = SteadyTime::min();
  double prepare_seconds_each_ ABSL_GUARDED_BY(mutex_) = 0;  // of an image, a running average
  bool stopping_ ABSL_GUARDED_BY(mutex_) = false;

  std::vector<std::thread> prepare_threads_;
  std::thread tower_thread_;
};

void BatchingEncoderImpl::EncodeAsync(Input input, EncodeOptions options, Done done) {
  Waiter waiter{std::move(done), options.priority, ToSteady(options.deadline),
                std::move(options.cancelled)};
  if (waiter.IsCancelled()) {
    return std::move(waiter.done)(absl::CancelledError("cancelled by the caller"));
  }
  if (waiter.deadline <= Clock::now()) {
    return std::move(waiter.done)(
        absl::DeadlineExceededError("the deadline passed before encoding began"));
  }
  auto item = std::make_shared<Item>();
  item->input = std::move(input);
  item->lane = options.priority;
  if (item->input.kind == Input::Kind::kText) {
    if (std::optional<Embedding> known = cache_.Find(item->input.data)) {
      {
        MutexLock lock(&mutex_);
        ++queue_.stats.text_cache_hits;
      }
      return std::move(waiter.done)(*std::move(known));
    }
    absl::StatusOr<Prepared> prepared = PrepareSafely(*inner_, item->input);
    if (!prepared.ok()) return std::move(waiter.done)(prepared.status());
    item->prepared = *std::move(prepared);
    item->stage = Item::Stage::kReady;
  } else if (absl::StatusOr<ImageHeader> header = ProbeImage(item->input.data); header.ok()) {
    // What can't be probed or is too large is for Prepare to refuse, and takes no pixels.
    if (header->pixels() <= options_.max_image_pixels) item->pixels = header->pixels();
  }
  item->hash = absl::HashOf(item->input.kind, item->input.data);

  Answers answers;
  const absl::Status status = Enqueue(std::move(item), waiter, options.wait_for_room, answers);
  Give(answers);
  if (!status.ok()) std::move(waiter.done)(status);
}

absl::Status BatchingEncoderImpl::Enqueue(ItemPtr item, Waiter& waiter, bool wait_for_room,
                                          Answers& answers) {
  MutexLock lock(&mutex_);
  if (ItemPtr same = queue_.Find(item->input, item->hash)) {
    queue_.Join(same, std::move(waiter));
    return absl::OkStatus();
  }
  if (absl::Status status = AwaitRoom(*item, waiter, wait_for_room, answers); !status.ok()) {
    return status;
  }
  const double needed = SecondsNeeded(*item, waiter.lane);
  if (waiter.deadline != SteadyTime::max() && After(Clock::now(), needed) > waiter.deadline) {
    BatchingStats::Lane& counters =
        waiter.lane == Priority::kInteractive ? queue_.stats.interactive : queue_.stats.bulk;
    ++counters.refused_deadline;
    return Overloaded("DEADLINE_UNREACHABLE",
                      absl::StrCat("encoding would take about ", static_cast<int>(needed * 1000),
                                   " ms with what is queued, longer than the deadline allows"),
                      std::clamp(absl::Seconds(needed), kShortestRetry, kLongestRetry));
  }
  // While this thread waited for room the same input may have come in.
  if (ItemPtr same = queue_.Find(item->input, item->hash)) {
    queue_.Join(same, std::move(waiter));
    return absl::OkStatus();
  }
  item->waiters.push_back(std::move(waiter));
  queue_.Add(std::move(item));
  work_.SignalAll();
  return absl::OkStatus();
}

absl::Status BatchingEncoderImpl::AwaitRoom(const Item& item, const Waiter& waiter,
                                            bool wait_for_room, Answers& answers) {
  const uint64_t bytes = item.input.data.size();
  if (queue_.HasRoom(waiter.lane, bytes, item.pixels)) return absl::OkStatus();
  // A caller that waits leaves this to the tower thread: answers are given only when it is through.
  if (!wait_for_room) queue_.DropDead(Clock::now(), answers);
  while (!queue_.HasRoom(waiter.lane, bytes, item.pixels)) {
    if (!wait_for_room) {
      BatchingStats::Lane& counters =
          waiter.lane == Priority::kInteractive ? queue_.stats.interactive : queue_.stats.bulk;
      ++counters.refused_full;
      return Overloaded("QUEUE_FULL", "the encoder's queue is full",
                        std::clamp(absl::Seconds(queue_.SecondsAhead(waiter.lane, costs_) / 4),
                                   kShortestRetry, kLongestRetry));
    }
    if (waiter.IsCancelled()) return absl::CancelledError("cancelled while it waited for room");
    const SteadyTime now = Clock::now();
    if (now >= waiter.deadline) {
      return absl::DeadlineExceededError("the deadline passed while it waited for room");
    }
    room_.WaitUntil(&mutex_, std::min(waiter.deadline, now + kCancelPoll));
  }
  return absl::OkStatus();
}

double BatchingEncoderImpl::SecondsNeeded(const Item& item, Priority lane) const {
  const double running =
      std::max(std::chrono::duration<double>(running_until_ - Clock::now()).count(), 0.0);
  double before = running + queue_.SecondsAhead(lane, costs_);
  if (item.input.kind == Input::Kind::kImage) {
    const double decoding = prepare_seconds_each_ *
                            static_cast<double>(queue_.UnpreparedAhead(lane) + 1) /
                            static_cast<double>(prepare_threads_.size());
    before = std::max(before, decoding);
  }
  return before + costs_.Seconds(item.input.kind, 1);
}

void BatchingEncoderImpl::PrepareLoop() {
  while (true) {
    ItemPtr item;
    {
      MutexLock lock(&mutex_);
      while ((item = queue_.TakeUnprepared()) == nullptr) {
        if (stopping_ && queue_.empty()) return;
        work_.Wait(&mutex_);
      }
    }
    const SteadyTime start = Clock::now();
    absl::StatusOr<Prepared> prepared = PrepareSafely(*inner_, item->input);
    const double seconds = SecondsSince(start);

    Answers answers;
    {
      MutexLock lock(&mutex_);
      queue_.stats.prepare_seconds += seconds;
      prepare_seconds_each_ =
          prepare_seconds_each_ == 0
              ? seconds
              : prepare_seconds_each_ + kLearningRate * (seconds - prepare_seconds_each_);
      if (prepared.ok()) {
        item->prepared = *std::move(prepared);
        queue_.SetReady(item);
      } else {
        for (Waiter& waiter : queue_.Finish(item)) {
          answers.push_back({std::move(waiter.done), prepared.status()});
        }
        room_.SignalAll();
      }
    }
    work_.SignalAll();
    Give(answers);
  }
}

std::vector<absl::StatusOr<Embedding>> BatchingEncoderImpl::Run(
    const std::vector<const Prepared*>& batch) {
  std::vector<absl::StatusOr<Embedding>> results;
  try {
    results = inner_->Embed(batch);
  } catch (const std::bad_alloc&) {
    results.assign(batch.size(), OutOfMemory());
  } catch (const std::exception& e) {
    results.assign(batch.size(),
                   absl::InternalError(absl::StrCat("the towers failed: ", e.what())));
  }
  if (results.size() != batch.size()) {
    results.assign(batch.size(), absl::InternalError("the towers gave a wrong number of vectors"));
  }
  if (batch.size() == 1 || std::none_of(results.begin(), results.end(), IsOutOfMemory)) {
    return results;
  }
  const auto middle = static_cast<std::ptrdiff_t>(batch.size() / 2);
  {
    MutexLock lock(&mutex_);
    costs_.LimitSize(batch.front()->kind, static_cast<int>(middle));
  }
  results = Run({batch.begin(), batch.begin() + middle});
  std::vector<absl::StatusOr<Embedding>> rest = Run({batch.begin() + middle, batch.end()});
  std::move(rest.begin(), rest.end(), std::back_inserter(results));
  return results;
}

void BatchingEncoderImpl::Finish(const std::vector<ItemPtr>& batch,
                                 std::vector<absl::StatusOr<Embedding>> results, Answers& answers) {
  for (size_t i = 0; i < batch.size(); ++i) {
    if (results[i].ok() && batch[i]->input.kind == Input::Kind::kText) {
      cache_.Insert(batch[i]->input.data, *results[i]);
    }
    for (Waiter& waiter : queue_.Finish(batch[i])) {
      BatchingStats::Lane& counters =
          waiter.lane == Priority::kInteractive ? queue_.stats.interactive : queue_.stats.bulk;
      counters.encoded += results[i].ok();
      answers.push_back({std::move(waiter.done), results[i]});
    }
  }
}

void BatchingEncoderImpl::TowerLoop() {
  Answers answers;
  while (true) {
    std::vector<ItemPtr> batch;
    {
      MutexLock lock(&mutex_);
      queue_.stats.last_progress = SteadyNow();
      queue_.DropDead(Clock::now(), answers);
      batch = queue_.TakeBatch(costs_);
      if (batch.empty() && answers.empty()) {
        if (stopping_ && queue_.empty()) break;
        work_.WaitUntil(&mutex_, Clock::now() + kHeartbeat);
        continue;
      }
      if (!batch.empty()) {
        running_until_ = After(
            Clock::now(), costs_.Seconds(batch[0]->input.kind, static_cast<int>(batch.size())));
      }
    }
    room_.SignalAll();
    work_.SignalAll();  // decoding may have stopped because enough was ready
    Give(answers);
    if (batch.empty()) continue;

    std::vector<const Prepared*> prepared;
    for (const ItemPtr& item : batch) prepared.push_back(&item->prepared);
    const SteadyTime start = Clock::now();
    std::vector<absl::StatusOr<Embedding>> results = Run(prepared);
    const double seconds = SecondsSince(start);
    {
      MutexLock lock(&mutex_);
      const Input::Kind kind = batch[0]->input.kind;
      costs_.Observe(kind, static_cast<int>(batch.size()), seconds);
      queue_.Charge(batch, seconds);
      queue_.stats.tower_seconds += seconds;
      if (kind == Input::Kind::kImage) {
        ++queue_.stats.image_batches;
        queue_.stats.batched_images += batch.size();
      } else {
        ++queue_.stats.text_batches;
        queue_.stats.batched_texts += batch.size();
      }
      Finish(batch, std::move(results), answers);
    }
    room_.SignalAll();
    Give(answers);
  }
  work_.SignalAll();  // nothing is left: the prepare threads end too
}

}  // namespace

std::unique_ptr<BatchingEncoder> MakeBatchingEncoder(std::unique_ptr<Encoder> inner,
                                                     const BatchingOptions& options) {
  return std::make_unique<BatchingEncoderImpl>(std::move(inner), options);
}

}  // namespace imagesearch::encoder
