// The encoder's interface: image bytes or text in, a unit vector out. Implemented by the CLIP
// towers (encoder/clip/clip_encoder.h) and by a decorator that batches across callers
// (encoder/batching_encoder.h).
#ifndef IMAGESEARCH_ENCODER_ENCODER_H_
#define IMAGESEARCH_ENCODER_ENCODER_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/functional/any_invocable.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace imagesearch::encoder {

// A box in an image as fractions of its upright (EXIF-oriented) width and height: 0 <= left < right
// <= 1, and so on.
struct CropBox {
  float left = 0, top = 0, right = 1, bottom = 1;
};

// One thing to encode.
struct Input {
  enum class Kind { kText, kImage };
  Kind kind = Kind::kText;
  // kText: UTF-8, 1 byte to the text limit, no NUL. kImage: an encoded JPEG, PNG, WebP, GIF or BMP.
  std::string data;
  // kImage only: encode this part.
  std::optional<CropBox> crop;

  static Input Text(std::string text) { return {Kind::kText, std::move(text), std::nullopt}; }
  static Input Image(std::string bytes) { return {Kind::kImage, std::move(bytes), std::nullopt}; }
};

struct Embedding {
  // model().dimension values, length 1.
  std::vector<float> values;
  // The text had more tokens than the context and was cut.
  bool truncated_text = false;
  // Images: of the whole picture, whatever the crop box; absent for a picture of one colour.
  std::optional<uint64_t> perceptual_hash;
};

// An input made ready for the towers: pixels or token ids. Made by Encoder::Prepare, used by
// Encoder::Embed.
struct Prepared {
  Input::Kind kind = Input::Kind::kText;
  // kImage: model().image_size^2 * 3 RGB bytes, rows top-down, resized and cropped, not yet
  // normalised.
  std::vector<uint8_t> pixels;
  // kText: start token, tokens, end token; not padded; at most model().context_length long.
  std::vector<int32_t> tokens;
  bool truncated_text = false;
  // kImage: see Embedding.
  std::optional<uint64_t> perceptual_hash;
};

// What a server says of its model.
struct ModelInfo {
  std::string id;           // folder name @ first 8 hex digits of the fingerprint
  std::string fingerprint;  // SHA-256, hex: weights, preprocessing, tokenizer, precision class
  int dimension = 0;
  int image_size = 0;      // pixels
  int context_length = 0;  // tokens
  std::string precision;   // fp32, bf16, fp16, int8
  std::string precision_reason;
  float logit_scale =
      100;  // exp of the checkpoint's logit_scale: multiplies cosines before a softmax
  uint64_t memory_bytes = 0;  // of the weights as held in memory
};

enum class Priority { kInteractive, kBulk };

struct EncodeOptions {
  Priority priority = Priority::kInteractive;
  // Work that can't be done by then is refused or dropped with DEADLINE_EXCEEDED or
  // RESOURCE_EXHAUSTED.
  absl::Time deadline = absl::InfiniteFuture();
  // Set to true by the caller when nobody waits any more; may be null.
  std::shared_ptr<const std::atomic<bool>> cancelled;
  // true: a full queue makes the caller wait for room (streams with flow control) instead of
  // refusing.
  bool wait_for_room = false;
};

// Thread-safe. Errors: INVALID_ARGUMENT with a reason for a bad input (EMPTY_IMAGE,
// UNSUPPORTED_FORMAT, CORRUPT_IMAGE, IMAGE_TOO_LARGE, BAD_CROP_BOX, EMPTY_TEXT, TEXT_TOO_LONG,
// INVALID_UTF8, NUL_IN_TEXT), RESOURCE_EXHAUSTED (QUEUE_FULL, DEADLINE_UNREACHABLE, OUT_OF_MEMORY),
// DEADLINE_EXCEEDED, CANCELLED, INTERNAL when the model answers with a vector that is not finite.
class Encoder {
 public:
  using Done = absl::AnyInvocable<void(absl::StatusOr<Embedding>)>;

  virtual ~Encoder() = default;

  virtual const ModelInfo& model() const = 0;

  // Stage 1, on the calling thread: checks limits, decodes and resizes, or tokenises.
  virtual absl::StatusOr<Prepared> Prepare(const Input& input) const = 0;

  // Stage 2: runs the towers over all of `prepared` (kinds may be mixed) on the calling thread and
  // LibTorch's pool. Result i belongs to prepared[i] and does not depend on what else is in the
  // batch beyond rounding.
  virtual std::vector<absl::StatusOr<Embedding>> Embed(
      const std::vector<const Prepared*>& prepared) = 0;

  // Both stages. Calls `done` exactly once, on any thread, possibly before it returns. `done` must
  // not block long.
  virtual void EncodeAsync(Input input, EncodeOptions options, Done done);

  // EncodeAsync for each input, then waits for all. Result i belongs to inputs[i].
  std::vector<absl::StatusOr<Embedding>> Encode(std::vector<Input> inputs,
                                                const EncodeOptions& options);
};

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_ENCODER_H_
