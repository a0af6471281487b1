// Which images have words in their metadata, and how well they match: an inverted index in memory
// over every string field, ranked by BM25.
#ifndef IMAGESEARCH_INDEX_KEYWORD_KEYWORD_INDEX_H_
#define IMAGESEARCH_INDEX_KEYWORD_KEYWORD_INDEX_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "google/protobuf/struct.pb.h"
#include "index/filter/expression.h"

namespace imagesearch::index {

struct KeywordMatch {
  uint32_t slot = 0;
  float score = 0;
};

// Indexed are strings, and the strings in lists, at every level of structs; at most kMaxWords words
// of one image, fields in the order of their names.
//
// The document is the text of the fields searched, taken together. Score (Robertson and Zaragoza
// 2009, "The probabilistic relevance framework: BM25 and beyond", with k1 = 1.2 and b = 0.75):
//
//   sum over the query's words of  ln(1 + (N - n + 0.5) / (n + 0.5))
//                                  * tf (k1 + 1) / (tf + k1 (1 - b + b length / mean length))
//
// N: images with text in these fields; n: those with the word. Any word matches.
//
// Thread-safe. Reads run side by side; a write waits for the reads that have started.
class KeywordIndex {
 public:
  static constexpr size_t kMaxWords = 512;
  static constexpr size_t kMaxQueryWords = 32;

  KeywordIndex();
  ~KeywordIndex();
  KeywordIndex(const KeywordIndex&) = delete;
  KeywordIndex& operator=(const KeywordIndex&) = delete;

  // As in FieldIndex.
  void Add(uint32_t slot, const google::protobuf::Struct& metadata);
  void Remove(uint32_t slot, const google::protobuf::Struct& metadata);

  // For filling the index from a snapshot while Add and Remove go on with what changes since: adds
  // the slot unless one of them touched it. FinishFill ends it.
  void Fill(uint32_t slot, const google::protobuf::Struct& metadata);
  void FinishFill();

  // The `limit` best of the slots that `allows` (null: all), best first; equal ones by slot.
  // `fields` empty: all. The words of `text` count once each.
  std::vector<KeywordMatch> Search(absl::string_view text, absl::Span<const FieldPath> fields,
                                   const std::function<bool(uint32_t slot)>& allows,
                                   size_t limit) const;

  // About.
  uint64_t memory_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_KEYWORD_KEYWORD_INDEX_H_
