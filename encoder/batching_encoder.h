// Batches encodes across callers: a decorator with the Encoder interface, two lanes, deadlines,
// bounded queues.
#ifndef IMAGESEARCH_ENCODER_BATCHING_ENCODER_H_
#define IMAGESEARCH_ENCODER_BATCHING_ENCODER_H_

#include <cstdint>
#include <memory>

#include "encoder/encoder.h"

namespace imagesearch::encoder {

struct BatchingOptions {
  // Threads that decode, resize and tokenise, apart from the towers.
  int prepare_threads = 2;
  // Bounds of what waits, over both lanes: uploaded bytes, decoded pixels and items.
  uint64_t max_queued_bytes = 256u << 20;
  uint64_t max_queued_pixels = 400'000'000;
  int max_queued_items = 4096;
  int max_batch_images = 32;
  int max_batch_texts = 64;
  // Share of the towers' time that bulk work keeps while interactive work waits, in (0, 1).
  double min_bulk_share = 0.1;
  // Query vectors remembered, keyed by text; 0 turns the cache off.
  int text_cache_entries = 10'000;
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
  absl::Time last_progress = absl::InfinitePast();  // heartbeat of the tower thread
};

// Thread-safe. The destructor finishes what is queued.
class BatchingEncoder : public Encoder {
 public:
  virtual BatchingStats stats() const = 0;
};

std::unique_ptr<BatchingEncoder> MakeBatchingEncoder(std::unique_ptr<Encoder> inner,
                                                     const BatchingOptions& options);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_BATCHING_ENCODER_H_
