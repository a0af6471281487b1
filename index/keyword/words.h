// Text -> words, for the keyword index and its queries.
#ifndef IMAGESEARCH_INDEX_KEYWORD_WORDS_H_
#define IMAGESEARCH_INDEX_KEYWORD_WORDS_H_

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace imagesearch::index {

inline constexpr size_t kMaxWordBytes = 64;

// The words and numbers of a UTF-8 text in order, at most `most`: split by the word boundaries of
// Unicode (UAX 29, by ICU; dictionaries for the scripts that write no blanks), and at _, which
// boundaries keep; then NFKC with case folding. Words are cut to kMaxWordBytes, on a character.
// Bytes that are not UTF-8 separate words. Thread-safe.
std::vector<std::string> WordsOf(absl::string_view text, size_t most);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_KEYWORD_WORDS_H_
