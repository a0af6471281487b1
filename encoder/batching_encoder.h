// Batches encodes across callers: a decorator with the Encoder interface, two lanes, deadlines,
// bounded queues.
#ifndef IMAGESEARCH_ENCODER_BATCHING_ENCODER_H_
#define IMAGESEARCH_ENCODER_BATCHING_ENCODER_H_

#include <cstdint>
#include <memory>

#include "absl/time/time.h"
#include "encoder/encoder.h"

namespace imagesearch::encoder {

struct BatchingOptions {
  // Threads that decode, resize and tokenise, apart from the towers.
  int prepare_threads = 2;
  // Nice value of the threads that decode and that run the towers, 0 to 19: above 0 other threads
  // of the process, which admit and refuse calls, go before them on a machine that is full.
  int thread_nice = 0;
  // Bounds of what waits, over both lanes: uploaded bytes, decoded pixels and items.
  uint64_t max_queued_bytes = 256u << 20;
  uint64_t max_queued_pixels = 400'000'000;
  int max_queued_items = 4096;
  // ImageLimits::max_pixels of the decorated encoder: an image whose header claims more is refused
  // by Prepare before anything is allocated, so it takes no pixels of the queue.
  uint64_t max_image_pixels = 40'000'000;
  int max_batch_images = 32;
  int max_batch_texts = 64;
  // Share of the towers' time that bulk work keeps while interactive work waits, in (0, 1).
  double min_bulk_share = 0.1;
  // Query vectors remembered, keyed by text; 0 turns the cache off.
  int text_cache_entries = 10'000;
  // How long MakeBatchingEncoder may take to measure batches of several sizes. Zero: costs are
  // learned from the traffic alone.
  absl::Duration measure_budget = absl::Milliseconds(1500);
};

// Figures for metrics; each only grows, but for the queue_* gauges.
struct BatchingStats {
  struct Lane {
    uint64_t queued_items = 0, queued_bytes = 0;  // gauges
    uint64_t encoded = 0, refused_full = 0, refused_deadline = 0, dropped_expired = 0,
             dropped_cancelled = 0;
  };
  Lane interactive, bulk;
  uint64_t image_batches = 0, batched_images = 0, text_batches = 0, batched_texts = 0;
  uint64_t shared_in_flight = 0;  // byte-identical images encoded once
  uint64_t text_cache_hits = 0;
  double tower_seconds = 0, prepare_seconds = 0;
  // Heartbeat of the tower thread; it also beats while there is nothing to do.
  absl::Time last_progress = absl::InfinitePast();
};

// How a request goes:
// - A text is tokenised on the caller's thread, an image is decoded by the prepare pool; then one
//   thread runs the towers, a batch at a time, as soon as they are free: there is no waiting for a
//   batch to fill. Images and texts batch apart, texts with others of about their length. How large
//   a batch may grow follows from measured costs (encoder/batch_cost_model.h).
// - Interactive work goes first, and bulk work fills up its batches; while both wait, bulk gets at
//   least min_bulk_share of the towers' time. Neither lane may take more than three quarters of the
//   queue's room, so neither can shut the other out.
// - A full queue refuses with RESOURCE_EXHAUSTED QUEUE_FULL, or makes the caller wait if it asked
//   for that; a deadline that the queue can't meet is refused at once with RESOURCE_EXHAUSTED
//   DEADLINE_UNREACHABLE; both say when to retry. What expires or is cancelled in the queue is
//   answered DEADLINE_EXCEEDED or CANCELLED and never reaches the towers.
// - Byte-identical inputs (with equal crop boxes) that are in flight are encoded once.
// - When the towers run out of memory the batch is split, and later ones stay smaller.
//
// Thread-safe. Deadlines are turned to the steady clock on arrival. The destructor finishes what is
// queued; EncodeAsync must not be called by then.
class BatchingEncoder : public Encoder {
 public:
  virtual BatchingStats stats() const = 0;
};

std::unique_ptr<BatchingEncoder> MakeBatchingEncoder(std::unique_ptr<Encoder> inner,
                                                     const BatchingOptions& options);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_BATCHING_ENCODER_H_
