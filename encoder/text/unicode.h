// The text cleaning of CLIP's tokenizer: what it normalises and where it cuts. Character classes
// come from ICU, so characters younger than its Unicode version (15 in Debian 12) count as symbols.
#ifndef IMAGESEARCH_ENCODER_TEXT_UNICODE_H_
#define IMAGESEARCH_ENCODER_TEXT_UNICODE_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace imagesearch::encoder {

bool IsValidUtf8(absl::string_view text);

// The code point at `position` of valid UTF-8; moves `position` behind it.
char32_t NextCodePoint(absl::string_view text, size_t& position);

// Unicode's White_Space property.
bool IsSpace(char32_t c);
// Letters, digits, marks and connector punctuation: the word characters of a regular expression's
// \w.
bool IsWord(char32_t c);

// Unicode normalisation form C, then each run of white space becomes one space, then every
// character is lower-cased by itself (no final sigma; U+0130 becomes two characters). `text` is
// valid UTF-8.
std::string NormalizeText(absl::string_view text);

// The pieces of normalised text that byte-pair encoding works on, as CLIP's pattern finds them:
//   <|startoftext|> | <|endoftext|> | 's | 't | 're | 've | 'm | 'll | 'd
//   | [\p{L}]+ | [\p{N}] | [^\s\p{L}\p{N}]+
// leftmost first, white space dropped. A spelled-out <|startoftext|> is cut once more, into its
// punctuation and its letters, as the byte-level step behind that pattern does. The views point
// into `text`.
std::vector<absl::string_view> SplitText(absl::string_view text);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_TEXT_UNICODE_H_
