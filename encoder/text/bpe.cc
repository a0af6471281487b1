// Merging with a linked list of symbols and a heap of candidate pairs.
#include "encoder/text/bpe.h"

#include <queue>

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace imagesearch::encoder {
namespace {

// The character that stands for `byte` in the vocabulary, in UTF-8.
std::array<std::string, 256> ByteSymbols() {
  std::array<std::string, 256> symbols;
  int next = 256;
  for (int byte = 0; byte < 256; ++byte) {
    const bool stands_for_itself =
        (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    const int c = stands_for_itself ? byte : next++;
    if (c < 0x80) {
      symbols[byte] = std::string(1, static_cast<char>(c));
    } else {
      symbols[byte] = {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
    }
  }
  return symbols;
}

constexpr absl::string_view kWordEnd = "</w>";

}  // namespace

absl::StatusOr<Bpe> Bpe::Make(const Vocabulary& vocabulary, const MergeList& merges,
                              absl::string_view unknown_token) {
  const auto unknown = vocabulary.find(unknown_token);
  if (unknown == vocabulary.end()) {
    return InvalidArgument("BAD_TOKENIZER",
                           absl::StrCat("the vocabulary lacks the unknown token ", unknown_token));
  }
  const auto id_or_unknown = [&](const std::string& symbol) {
    const auto found = vocabulary.find(symbol);
    return found == vocabulary.end() ? unknown->second : found->second;
  };
  Bpe bpe;
  const std::array<std::string, 256> symbols = ByteSymbols();
  for (int byte = 0; byte < 256; ++byte) {
    bpe.inner_[byte] = id_or_unknown(symbols[byte]);
    bpe.last_[byte] = id_or_unknown(absl::StrCat(symbols[byte], kWordEnd));
  }
  bpe.merges_.reserve(merges.size());
  for (size_t rank = 0; rank < merges.size(); ++rank) {
    const auto& [left, right] = merges[rank];
    const auto left_id = vocabulary.find(left);
    const auto right_id = vocabulary.find(right);
    const auto merged_id = vocabulary.find(absl::StrCat(left, right));
    if (left_id == vocabulary.end() || right_id == vocabulary.end() ||
        merged_id == vocabulary.end()) {
      return InvalidArgument("BAD_TOKENIZER",
                             absl::StrCat("merge ", rank + 1, " (\"", left, "\" \"", right,
                                          "\") uses a token that is not in the vocabulary"));
    }
    bpe.merges_[Key(left_id->second, right_id->second)] = {static_cast<int32_t>(rank),
                                                           merged_id->second};
  }
  return bpe;
}

void Bpe::Encode(absl::string_view word, std::vector<int32_t>& ids) const {
  struct Symbol {
    int32_t id;  // -1: merged into an earlier one
    int previous, next;
  };
  struct Candidate {
    int32_t rank;
    int left;  // position of the left symbol
    int32_t left_id, right_id, merged_id;

    bool operator<(const Candidate& other) const {  // the best one is the largest
      return rank != other.rank ? rank > other.rank : left > other.left;
    }
  };
  const int size = static_cast<int>(word.size());
  std::vector<Symbol> symbols(size);
  for (int i = 0; i < size; ++i) {
    const auto byte = static_cast<uint8_t>(word[i]);
    symbols[i] = {i + 1 < size ? inner_[byte] : last_[byte], i - 1, i + 1 < size ? i + 1 : -1};
  }
  std::priority_queue<Candidate> candidates;
  const auto consider = [&](int left) {
    if (left < 0 || symbols[left].next < 0) return;
    const int32_t left_id = symbols[left].id, right_id = symbols[symbols[left].next].id;
    const auto merge = merges_.find(Key(left_id, right_id));
    if (merge == merges_.end()) return;
    candidates.push({merge->second.rank, left, left_id, right_id, merge->second.id});
  };
  for (int i = 0; i < size; ++i) consider(i);
  while (!candidates.empty()) {
    const Candidate best = candidates.top();
    candidates.pop();
    Symbol& left = symbols[best.left];
    // Either side may have been merged away since.
    if (left.id != best.left_id || left.next < 0 || symbols[left.next].id != best.right_id)
      continue;
    Symbol& right = symbols[left.next];
    left.id = best.merged_id;
    left.next = right.next;
    if (right.next >= 0) symbols[right.next].previous = best.left;
    right.id = -1;
    consider(left.previous);
    consider(best.left);
  }
  for (int i = 0; i >= 0 && i < size; i = symbols[i].next) ids.push_back(symbols[i].id);
}

}  // namespace imagesearch::encoder
