// CLIP's byte-level BPE: text in, token ids out, identical to transformers' CLIPTokenizer.
#ifndef IMAGESEARCH_ENCODER_TEXT_TOKENIZER_H_
#define IMAGESEARCH_ENCODER_TEXT_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace imagesearch::encoder {

// INVALID_ARGUMENT EMPTY_TEXT, TEXT_TOO_LONG (more than max_bytes), INVALID_UTF8 or NUL_IN_TEXT
// when `text` can't be a query.
absl::Status CheckText(absl::string_view text, uint32_t max_bytes);

struct Tokens {
  // Start token, the text's tokens, end token; not padded; at most context_length long.
  std::vector<int32_t> ids;
  // The text had more tokens and was cut; the last id is still the end token.
  bool truncated = false;
};

// Thread-safe: constant after Load.
class Tokenizer {
 public:
  // Reads the vocabulary of a checkpoint folder. Errors: NOT_FOUND when the folder holds none,
  // INVALID_ARGUMENT or DATA_LOSS, with the file and what was expected, when it can't be used.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& dir,
                                                         int context_length);

  virtual ~Tokenizer() = default;

  // `text` has passed CheckText; INVALID_ARGUMENT INVALID_UTF8 when it is not UTF-8.
  virtual absl::StatusOr<Tokens> Encode(absl::string_view text) const = 0;

  virtual int vocab_size() const = 0;  // largest id + 1
  virtual int32_t start_id() const = 0;
  virtual int32_t end_id() const = 0;
  virtual int32_t pad_id() const = 0;
};

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_TEXT_TOKENIZER_H_
