// ICU's properties and normaliser behind CLIP's cleaning rules.
#include "encoder/text/unicode.h"

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "absl/strings/match.h"
#include "unicode/normalizer2.h"
#include "unicode/uchar.h"
#include "unicode/unistr.h"
#include "unicode/utf8.h"

namespace imagesearch::encoder {
namespace {

enum class Class { kSpace, kLetter, kNumber, kSymbol };

Class ClassOf(char32_t c) {
  if (c < 0x80) {
    const char32_t lower = c | 0x20;
    if (lower >= 'a' && lower <= 'z') return Class::kLetter;
    if (c >= '0' && c <= '9') return Class::kNumber;
    return c == ' ' || (c >= '\t' && c <= '\r') ? Class::kSpace : Class::kSymbol;
  }
  const uint32_t mask = U_MASK(u_charType(static_cast<UChar32>(c)));
  if (mask & U_GC_L_MASK) return Class::kLetter;
  if (mask & U_GC_N_MASK) return Class::kNumber;
  return IsSpace(c) ? Class::kSpace : Class::kSymbol;
}

bool IsAscii(absl::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<unsigned char>(c) < 0x80; });
}

void AppendUtf8(char32_t c, std::string& out) {
  uint8_t buffer[U8_MAX_LENGTH];
  int32_t length = 0;
  U8_APPEND_UNSAFE(buffer, length, static_cast<UChar32>(c));
  out.append(reinterpret_cast<const char*>(buffer), length);
}

std::string Nfc(absl::string_view text) {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* normalizer = icu::Normalizer2::getNFCInstance(error);
  if (U_FAILURE(error)) return std::string(text);  // ICU's own data is missing: can't happen
  const icu::UnicodeString wide =
      icu::UnicodeString::fromUTF8({text.data(), static_cast<int32_t>(text.size())});
  std::string result;
  normalizer->normalize(wide, error).toUTF8String(result);
  return U_FAILURE(error) ? std::string(text) : result;
}

}  // namespace

bool IsValidUtf8(absl::string_view text) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  const auto size = static_cast<int32_t>(text.size());
  for (int32_t i = 0; i < size;) {
    UChar32 c;
    U8_NEXT(bytes, i, size, c);
    if (c < 0) return false;
  }
  return true;
}

char32_t NextCodePoint(absl::string_view text, size_t& position) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(text.data());
  UChar32 c;
  auto i = static_cast<int32_t>(position);
  U8_NEXT(bytes, i, static_cast<int32_t>(text.size()), c);
  position = static_cast<size_t>(i);
  return static_cast<char32_t>(c);
}

bool IsSpace(char32_t c) { return u_isUWhiteSpace(static_cast<UChar32>(c)); }

bool IsWord(char32_t c) {
  const uint32_t mask = U_MASK(u_charType(static_cast<UChar32>(c)));
  return (mask & (U_GC_M_MASK | U_GC_ND_MASK | U_GC_PC_MASK)) != 0 ||
         u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_ALPHABETIC) ||
         u_hasBinaryProperty(static_cast<UChar32>(c), UCHAR_JOIN_CONTROL);
}

std::string NormalizeText(absl::string_view text) {
  std::string composed = IsAscii(text) ? std::string(text) : Nfc(text);
  std::string result;
  result.reserve(composed.size());
  bool in_space = false;
  for (size_t position = 0; position < composed.size();) {
    const char32_t c = NextCodePoint(composed, position);
    if (IsSpace(c)) {
      if (!in_space) result.push_back(' ');
      in_space = true;
      continue;
    }
    in_space = false;
    if (c == 0x130) {  // the one character whose lower case is longer without any context
      result.append("i\u0307");
    } else {
      AppendUtf8(static_cast<char32_t>(u_tolower(static_cast<UChar32>(c))), result);
    }
  }
  return result;
}

std::vector<absl::string_view> SplitText(absl::string_view text) {
  static constexpr std::initializer_list<absl::string_view> kContractions = {
      "'s", "'t", "'re", "'ve", "'m", "'ll", "'d"};
  std::vector<absl::string_view> pieces;
  size_t position = 0;
  while (position < text.size()) {
    const absl::string_view rest = text.substr(position);
    bool cut = false;
    for (absl::string_view special : {"<|startoftext|>", "<|endoftext|>"}) {
      if (!absl::StartsWith(rest, special)) continue;
      pieces.push_back(rest.substr(0, 2));
      pieces.push_back(rest.substr(2, special.size() - 4));
      pieces.push_back(rest.substr(special.size() - 2, 2));
      position += special.size();
      cut = true;
      break;
    }
    if (cut) continue;
    if (rest[0] == '\'') {
      for (absl::string_view contraction : kContractions) {
        if (!absl::StartsWith(rest, contraction)) continue;
        pieces.push_back(rest.substr(0, contraction.size()));
        position += contraction.size();
        cut = true;
        break;
      }
      if (cut) continue;
    }
    const size_t start = position;
    const Class kind = ClassOf(NextCodePoint(text, position));
    if (kind == Class::kSpace) continue;
    while (kind != Class::kNumber && position < text.size()) {
      size_t next = position;
      if (ClassOf(NextCodePoint(text, next)) != kind) break;
      position = next;
    }
    pieces.push_back(text.substr(start, position - start));
  }
  return pieces;
}

}  // namespace imagesearch::encoder
