// The tokens of the filter language; docs/filters.md has the grammar.
#include "index/filter/lexer.h"

#include <cmath>
#include <cstdint>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/filter/metadata.h"

namespace imagesearch::index {
namespace {

constexpr size_t kShownBytes = 32;  // of a token, in an error message

bool StartsWord(char c) {
  return absl::ascii_isalpha(c) || c == '_' || static_cast<unsigned char>(c) >= 0x80;
}

bool InWord(char c) { return StartsWord(c) || absl::ascii_isdigit(c) || c == '-'; }

bool InNumberOrMoment(char c) {
  return absl::ascii_isalnum(c) || c == '.' || c == ':' || c == '+' || c == '-' || c == '_';
}

// At most kShownBytes of `text`, cut between UTF-8 characters, control characters escaped.
std::string Shown(absl::string_view text) {
  if (text.size() <= kShownBytes) return absl::Utf8SafeCHexEscape(text);
  size_t cut = kShownBytes;
  while (cut > 0 && (static_cast<unsigned char>(text[cut]) & 0xC0) == 0x80) --cut;
  return absl::StrCat(absl::Utf8SafeCHexEscape(text.substr(0, cut)), "...");
}

void AppendUtf8(uint32_t code, std::string* out) {
  if (code < 0x80) {
    out->push_back(static_cast<char>(code));
    return;
  }
  if (code < 0x800) {
    out->push_back(static_cast<char>(0xC0 | code >> 6));
  } else {
    if (code < 0x10000) {
      out->push_back(static_cast<char>(0xE0 | code >> 12));
    } else {
      out->push_back(static_cast<char>(0xF0 | code >> 18));
      out->push_back(static_cast<char>(0x80 | (code >> 12 & 0x3F)));
    }
    out->push_back(static_cast<char>(0x80 | (code >> 6 & 0x3F)));
  }
  out->push_back(static_cast<char>(0x80 | (code & 0x3F)));
}

// [-] digits [. digits] [e [+-] digits]; the sign is a token of its own.
bool HasNumberShape(absl::string_view text) {
  size_t i = 0;
  const auto digits = [&] {
    const size_t start = i;
    while (i < text.size() && absl::ascii_isdigit(text[i])) ++i;
    return i > start;
  };
  if (!digits()) return false;
  if (i < text.size() && text[i] == '.') {
    ++i;
    if (!digits()) return false;
  }
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    if (i < text.size() && (text[i] == '+' || text[i] == '-')) ++i;
    if (!digits()) return false;
  }
  return i == text.size();
}

class Lexer {
 public:
  explicit Lexer(absl::string_view text) : text_(text) {}

  absl::StatusOr<std::vector<Token>> Run() {
    while (true) {
      while (at_ < text_.size() && absl::ascii_isspace(text_[at_])) ++at_;
      Token token;
      token.column = at_ + 1;
      if (at_ < text_.size()) {
        if (absl::Status status = Next(token); !status.ok()) return status;
      }
      token.end = at_ + 1;
      tokens_.push_back(std::move(token));
      if (tokens_.back().kind == TokenKind::kEnd) return std::move(tokens_);
    }
  }

 private:
  absl::Status Next(Token& token) {
    const char c = text_[at_];
    if (c == '"' || c == '\'') return String(token);
    if (c == '`') return QuotedField(token);
    if (absl::ascii_isdigit(c)) return NumberOrMoment(token);
    if (StartsWord(c)) {
      token.kind = TokenKind::kWord;
      const size_t start = at_;
      while (at_ < text_.size() && InWord(text_[at_])) ++at_;
      token.text = std::string(text_.substr(start, at_ - start));
      return absl::OkStatus();
    }
    return Symbol(token);
  }

  absl::Status Symbol(Token& token) {
    token.kind = TokenKind::kSymbol;
    for (absl::string_view symbol :
         {"!=", "<=", ">=", "(", ")", "[", "]", ",", ":", ".", "*", "-", "=", "<", ">"}) {
      if (absl::StartsWith(text_.substr(at_), symbol)) {
        token.text = std::string(symbol);
        at_ += symbol.size();
        if (symbol == "=" && at_ < text_.size() && text_[at_] == '=') {
          return FilterError(at_, "equality is written with one =, not ==");
        }
        return absl::OkStatus();
      }
    }
    const char c = text_[at_];
    if (c == '&' || c == '|' || c == '!') {
      return FilterError(at_ + 1, absl::StrCat("unexpected '", std::string(1, c),
                                               "': the operators are AND, OR, NOT and !="));
    }
    return FilterError(at_ + 1,
                       absl::StrCat("unexpected '", absl::CHexEscape(std::string(1, c)), "'"));
  }

  absl::Status NumberOrMoment(Token& token) {
    const size_t start = at_;
    while (at_ < text_.size() && InNumberOrMoment(text_[at_])) ++at_;
    token.text = std::string(text_.substr(start, at_ - start));
    if (HasNumberShape(token.text)) {
      token.kind = TokenKind::kNumber;
      if (!absl::SimpleAtod(token.text, &token.number) || !std::isfinite(token.number)) {
        return FilterError(start + 1, absl::StrCat("the number ", Shown(token.text),
                                                   " is out of the range of a double"));
      }
      return absl::OkStatus();
    }
    if (const std::optional<Moment> moment = ParseMoment(token.text)) {
      token.kind = TokenKind::kMoment;
      token.moment = *moment;
      return absl::OkStatus();
    }
    return FilterError(start + 1, absl::StrCat("'", Shown(token.text),
                                               "' is neither a number nor a time such as "
                                               "2024-05-01T12:00:00Z (text goes into quotes)"));
  }

  absl::Status QuotedField(Token& token) {
    token.kind = TokenKind::kQuotedField;
    const size_t close = text_.find('`', at_ + 1);
    if (close == absl::string_view::npos) {
      return FilterError(at_ + 1, "this ` has no closing `");
    }
    token.text = std::string(text_.substr(at_ + 1, close - at_ - 1));
    at_ = close + 1;
    return absl::OkStatus();
  }

  absl::Status String(Token& token) {
    token.kind = TokenKind::kString;
    const size_t start = at_;
    const char quote = text_[at_++];
    while (at_ < text_.size() && text_[at_] != quote) {
      const char c = text_[at_++];
      if (c == '\\') {
        if (absl::Status status = Escape(token); !status.ok()) return status;
        continue;
      }
      if (c == '*') token.stars.push_back(token.text.size());
      token.text.push_back(c);
    }
    if (at_ == text_.size()) {
      return FilterError(start + 1, absl::StrCat("this ", std::string(1, quote), " has no closing ",
                                                 std::string(1, quote)));
    }
    ++at_;
    return absl::OkStatus();
  }

  // After a backslash.
  absl::Status Escape(Token& token) {
    const size_t column = at_;  // of the backslash, 1-based
    const char c = at_ < text_.size() ? text_[at_++] : '\0';
    switch (c) {
      case '"':
      case '\'':
      case '\\':
      case '/':
      case '*':
        token.text.push_back(c);
        return absl::OkStatus();
      case 'n':
        token.text.push_back('\n');
        return absl::OkStatus();
      case 't':
        token.text.push_back('\t');
        return absl::OkStatus();
      case 'r':
        token.text.push_back('\r');
        return absl::OkStatus();
      case 'b':
        token.text.push_back('\b');
        return absl::OkStatus();
      case 'f':
        token.text.push_back('\f');
        return absl::OkStatus();
      case 'u':
        break;
      default:
        return FilterError(column,
                           "unknown escape; known are \\\" \\' \\\\ \\/ \\* \\n \\t \\r "
                           "\\b \\f and \\uXXXX");
    }
    uint32_t code = 0;
    if (!TakeHex4(&code)) return FilterError(column, "\\u takes four hexadecimal digits");
    if (code >= 0xD800 && code < 0xE000) {
      uint32_t low = 0;
      const bool paired = code < 0xDC00 && absl::StartsWith(text_.substr(at_), "\\u") &&
                          (at_ += 2, TakeHex4(&low)) && low >= 0xDC00 && low < 0xE000;
      if (!paired) return FilterError(column, "half of a surrogate pair");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    AppendUtf8(code, &token.text);
    return absl::OkStatus();
  }

  bool TakeHex4(uint32_t* code) {
    if (text_.size() - at_ < 4) return false;
    *code = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = text_[at_++];
      if (!absl::ascii_isxdigit(c)) return false;
      *code = *code * 16 + (absl::ascii_isdigit(c) ? c - '0' : absl::ascii_tolower(c) - 'a' + 10);
    }
    return true;
  }

  const absl::string_view text_;
  size_t at_ = 0;
  std::vector<Token> tokens_;
};

}  // namespace

bool Token::IsKeyword(absl::string_view keyword) const {
  return kind == TokenKind::kWord && absl::AsciiStrToUpper(text) == keyword;
}

absl::StatusOr<std::vector<Token>> Tokenize(absl::string_view text) { return Lexer(text).Run(); }

absl::Status FilterError(size_t column, absl::string_view message) {
  return InvalidArgument("BAD_FILTER", absl::StrCat("column ", column, ": ", message));
}

std::string Describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kEnd:
      return "the end of the filter";
    case TokenKind::kString:
      return absl::StrCat("the string \"", Shown(token.text), "\"");
    case TokenKind::kQuotedField:
      return absl::StrCat("`", Shown(token.text), "`");
    default:
      return absl::StrCat("'", Shown(token.text), "'");
  }
}

}  // namespace imagesearch::index
