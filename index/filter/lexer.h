// Filter text -> tokens.
#ifndef IMAGESEARCH_INDEX_FILTER_LEXER_H_
#define IMAGESEARCH_INDEX_FILTER_LEXER_H_

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "index/filter/expression.h"

namespace imagesearch::index {

enum class TokenKind {
  kEnd,
  kWord,         // a bare name or keyword
  kQuotedField,  // in backticks; `text` without them
  kString,       // in double or single quotes; `text` with escapes resolved
  kNumber,
  kMoment,
  kSymbol,  // ( ) [ ] , : . * - = != < <= > >=
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  size_t column = 1;  // 1-based, in bytes
  size_t end = 1;     // column after its last byte
  std::string text;
  std::vector<size_t> stars;  // kString: offsets in `text` of the * that were not escaped
  double number = 0;
  Moment moment;

  bool IsSymbol(absl::string_view symbol) const {
    return kind == TokenKind::kSymbol && text == symbol;
  }
  // A bare word, in any case. `keyword` is upper case.
  bool IsKeyword(absl::string_view keyword) const;
};

// The last token is kEnd. INVALID_ARGUMENT BAD_FILTER at the first byte that starts no token.
absl::StatusOr<std::vector<Token>> Tokenize(absl::string_view text);

// INVALID_ARGUMENT BAD_FILTER "column N: ...".
absl::Status FilterError(size_t column, absl::string_view message);

// A token for an error message: short, one line, valid UTF-8.
std::string Describe(const Token& token);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_FILTER_LEXER_H_
