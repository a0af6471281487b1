// An Encoder without a model, for tests of everything that stands on one: vectors come from a hash
// of the input, and time, failures and what reached the towers are under the test's control.
#ifndef IMAGESEARCH_ENCODER_FAKE_ENCODER_H_
#define IMAGESEARCH_ENCODER_FAKE_ENCODER_H_

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "encoder/encoder.h"

namespace imagesearch::encoder {

struct FakeEncoderOptions {
  int dimension = 8;
  int image_size = 4;
  int context_length = 77;
  uint32_t max_text_bytes = 4096;
  std::string model_id = "fake@00000000";
  // Another seed, other vectors for the same inputs. A multiple of 16.
  uint64_t seed = 0;
  // What Prepare and Embed take: slept, so that other threads run meanwhile.
  absl::Duration prepare_time;
  absl::Duration batch_time;  // of an Embed call, whatever its size
  absl::Duration item_time;   // and for each item in it
  // Embed answers a batch of more than this many items with RESOURCE_EXHAUSTED reason
  // OUT_OF_MEMORY for each of them, as the towers do.
  int out_of_memory_above = 1 << 30;
};

// Deterministic: equal data (and crop) gives the equal unit vector, different data nearly surely a
// different one. Texts are tokenised to one id for each byte. Inputs are checked as the interface
// says, but an image may be any bytes: only those that begin with "bad" are CORRUPT_IMAGE; a text
// "nan" makes Embed answer INTERNAL. Thread-safe.
class FakeEncoder : public Encoder {
 public:
  explicit FakeEncoder(FakeEncoderOptions options = {});

  const ModelInfo& model() const override { return model_; }
  absl::StatusOr<Prepared> Prepare(const Input& input) const override;
  std::vector<absl::StatusOr<Embedding>> Embed(
      const std::vector<const Prepared*>& prepared) override;

  // The vector that `input` is encoded to.
  std::vector<float> VectorOf(const Input& input) const;

  // Embed calls block from Hold() until Release().
  void Hold();
  void Release();

  // Blocks until an Embed call has begun (returns at once if one is running or held); false after
  // `timeout`.
  bool AwaitEmbedRunning(absl::Duration timeout);

  // Sizes and kinds of the Embed calls so far, in order.
  struct Batch {
    int images = 0, texts = 0;
    // Longest text, in tokens.
    int longest = 0;
  };
  std::vector<Batch> batches() const;
  // Items that reached Embed, over all calls.
  int64_t embedded() const;
  int64_t prepared() const;

 private:
  const FakeEncoderOptions options_;
  ModelInfo model_;

  mutable Mutex mutex_;
  CondVar changed_;
  bool held_ ABSL_GUARDED_BY(mutex_) = false;
  int running_ ABSL_GUARDED_BY(mutex_) = 0;
  std::vector<Batch> batches_ ABSL_GUARDED_BY(mutex_);
  int64_t embedded_ ABSL_GUARDED_BY(mutex_) = 0;
  mutable int64_t prepared_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_FAKE_ENCODER_H_
