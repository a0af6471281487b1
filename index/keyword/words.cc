#include "index/keyword/words.h"

#include <unicode/brkiter.h>
#include <unicode/normalizer2.h>
#include <unicode/ubrk.h>
#include <unicode/unistr.h>

#include <memory>

namespace imagesearch::index {
namespace {

// Making one takes a millisecond, and one serves one thread at a time.
icu::BreakIterator* Breaker() {
  static thread_local const std::unique_ptr<icu::BreakIterator> breaker = [] {
    UErrorCode error = U_ZERO_ERROR;
    std::unique_ptr<icu::BreakIterator> made(
        icu::BreakIterator::createWordInstance(icu::Locale::getRoot(), error));
    return U_SUCCESS(error) ? std::move(made) : nullptr;
  }();
  return breaker.get();
}

std::string Folded(const icu::UnicodeString& word) {
  UErrorCode error = U_ZERO_ERROR;
  const icu::Normalizer2* folding = icu::Normalizer2::getNFKCCasefoldInstance(error);
  std::string utf8;
  if (U_FAILURE(error)) return utf8;
  folding->normalize(word, error).toUTF8String(utf8);
  if (utf8.size() > kMaxWordBytes) {
    size_t end = kMaxWordBytes;
    while (end > 0 && (static_cast<unsigned char>(utf8[end]) & 0xC0) == 0x80) --end;
    utf8.resize(end);
  }
  return utf8;
}

}  // namespace

std::vector<std::string> WordsOf(absl::string_view text, size_t most) {
  std::vector<std::string> words;
  icu::BreakIterator* breaker = Breaker();
  if (breaker == nullptr) return words;
  icu::UnicodeString unicode = icu::UnicodeString::fromUTF8(
      icu::StringPiece(text.data(), static_cast<int32_t>(text.size())));
  unicode.findAndReplace(icu::UnicodeString(u'_'), icu::UnicodeString(u' '));
  breaker->setText(unicode);
  int32_t begin = breaker->first();
  for (int32_t end = breaker->next(); end != icu::BreakIterator::DONE && words.size() < most;
       begin = end, end = breaker->next()) {
    if (breaker->getRuleStatus() == UBRK_WORD_NONE) continue;  // blanks and punctuation
    std::string word = Folded(unicode.tempSubStringBetween(begin, end));
    if (!word.empty()) words.push_back(std::move(word));
  }
  return words;
}

}  // namespace imagesearch::index
