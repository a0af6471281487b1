// Byte-pair encoding of one word: bytes are spelled as symbols, then the vocabulary's merges join
// them, lowest rank first.
#ifndef IMAGESEARCH_ENCODER_TEXT_BPE_H_
#define IMAGESEARCH_ENCODER_TEXT_BPE_H_

#include <array>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace imagesearch::encoder {

using Vocabulary = absl::flat_hash_map<std::string, int32_t>;
using MergeList = std::vector<std::pair<std::string, std::string>>;

// Thread-safe: constant after Make.
class Bpe {
 public:
  // The vocabulary spells each byte as GPT-2 does: printable Latin-1 stands for itself, the other
  // bytes for U+0100 and up; the last symbol of a word ends in "</w>". Merge i has rank i. Symbols
  // that the vocabulary lacks become `unknown_token`. Errors are INVALID_ARGUMENT: a merge whose
  // parts or result are not in the vocabulary, no unknown token.
  static absl::StatusOr<Bpe> Make(const Vocabulary& vocabulary, const MergeList& merges,
                                  absl::string_view unknown_token);

  // Appends the ids of `word`, which holds at least one byte. O(n log n).
  void Encode(absl::string_view word, std::vector<int32_t>& ids) const;

 private:
  struct Merge {
    int32_t rank, id;
  };
  static uint64_t Key(int32_t left, int32_t right) {
    return uint64_t{static_cast<uint32_t>(left)} << 32 | static_cast<uint32_t>(right);
  }

  std::array<int32_t, 256> inner_;  // id of a byte within a word
  std::array<int32_t, 256> last_;   // id of a byte at its end
  absl::flat_hash_map<uint64_t, Merge> merges_;
};

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_TEXT_BPE_H_
