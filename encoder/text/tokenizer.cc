// Added tokens are cut out first, the rest is normalised, split and byte-pair encoded.
#include "encoder/text/tokenizer.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "encoder/text/bpe.h"
#include "encoder/text/tokenizer_files.h"
#include "encoder/text/unicode.h"

namespace imagesearch::encoder {
namespace {

// A stretch of text, or an added token found in it.
struct Part {
  absl::string_view text;
  const AddedToken* token = nullptr;
};

// Whether the character just before or behind a match is a word character.
bool EndsWithWord(absl::string_view text) {
  if (text.empty()) return false;
  size_t start = text.size() - 1;
  while (start > 0 && (static_cast<unsigned char>(text[start]) & 0xC0) == 0x80) --start;
  return IsWord(NextCodePoint(text, start));
}
bool StartsWithWord(absl::string_view text) {
  size_t position = 0;
  return !text.empty() && IsWord(NextCodePoint(text, position));
}

size_t LeadingSpace(absl::string_view text) {
  size_t end = 0;
  for (size_t next = 0; next < text.size(); end = next) {
    if (!IsSpace(NextCodePoint(text, next))) break;
  }
  return end;
}
size_t WithoutTrailingSpace(absl::string_view text) {
  size_t end = 0;
  for (size_t next = 0; next < text.size();) {
    if (!IsSpace(NextCodePoint(text, next))) end = next;
  }
  return end;
}

// Cuts `text` at the leftmost, then longest of `tokens`, over and over.
std::vector<Part> CutTokens(absl::string_view text, const std::vector<AddedToken>& tokens) {
  std::vector<Part> parts;
  size_t done = 0;  // everything before is in parts
  for (size_t position = 0; position < text.size();) {
    const AddedToken* best = nullptr;
    for (const AddedToken& token : tokens) {
      if (absl::StartsWith(text.substr(position), token.content) &&
          (best == nullptr || token.content.size() > best->content.size())) {
        best = &token;
      }
    }
    if (best == nullptr) {
      ++position;
      continue;
    }
    size_t start = position, end = position + best->content.size();
    position = end;
    if (best->single_word &&
        (EndsWithWord(text.substr(0, start)) || StartsWithWord(text.substr(end)))) {
      continue;
    }
    if (best->left_strip) start = std::max(done, WithoutTrailingSpace(text.substr(0, start)));
    if (best->right_strip) end += LeadingSpace(text.substr(end));
    start = std::max(start, done);
    if (start > done) parts.push_back({text.substr(done, start - done)});
    parts.push_back({text.substr(start, end - start), best});
    done = end;
  }
  if (done < text.size()) parts.push_back({text.substr(done)});
  return parts;
}

class ClipTokenizer : public Tokenizer {
 public:
  ClipTokenizer(Bpe bpe, const TokenizerFiles& files, int context_length)
      : bpe_(std::move(bpe)), context_length_(context_length) {
    for (const AddedToken& token : files.added) {
      if (token.content == files.start) start_id_ = token.id;
      if (token.content == files.end) end_id_ = token.id;
      if (token.content == files.pad) pad_id_ = token.id;
      vocab_size_ = std::max(vocab_size_, token.id + 1);
      if (token.normalized) {
        normalized_tokens_.push_back(token);
        normalized_tokens_.back().content = NormalizeText(token.content);
      } else {
        raw_tokens_.push_back(token);
      }
    }
    for (const auto& [token, id] : files.vocabulary) vocab_size_ = std::max(vocab_size_, id + 1);
  }

  absl::StatusOr<Tokens> Encode(absl::string_view text) const override {
    if (!IsValidUtf8(text)) return InvalidArgument("INVALID_UTF8", "the text is not valid UTF-8");
    Tokens result;
    result.ids.push_back(start_id_);
    for (const Part& part : CutTokens(text, raw_tokens_)) {
      if (part.token != nullptr) {
        result.ids.push_back(part.token->id);
      } else {
        EncodePart(NormalizeText(part.text), result.ids);
      }
    }
    const auto room = static_cast<size_t>(context_length_ - 1);
    if (result.ids.size() > room) {
      result.ids.resize(room);
      result.truncated = true;
    }
    result.ids.push_back(end_id_);
    return result;
  }

  int vocab_size() const override { return vocab_size_; }
  int32_t start_id() const override { return start_id_; }
  int32_t end_id() const override { return end_id_; }
  int32_t pad_id() const override { return pad_id_; }

 private:
  void EncodePart(absl::string_view normalized, std::vector<int32_t>& ids) const {
    for (const Part& part : CutTokens(normalized, normalized_tokens_)) {
      if (part.token != nullptr) {
        ids.push_back(part.token->id);
      } else {
        for (absl::string_view piece : SplitText(part.text)) bpe_.Encode(piece, ids);
      }
    }
  }

  const Bpe bpe_;
  const int context_length_;
  std::vector<AddedToken> raw_tokens_, normalized_tokens_;
  int vocab_size_ = 0;
  int32_t start_id_ = 0, end_id_ = 0, pad_id_ = 0;
};

}  // namespace

absl::Status CheckText(absl::string_view text, uint32_t max_bytes) {
  if (text.empty()) return InvalidArgument("EMPTY_TEXT", "the text is empty");
  if (text.size() > max_bytes) {
    return InvalidArgument("TEXT_TOO_LONG", absl::StrCat("the text has ", text.size(),
                                                         " bytes, the limit is ", max_bytes));
  }
  if (const size_t nul = text.find('\0'); nul != absl::string_view::npos) {
    return InvalidArgument("NUL_IN_TEXT", absl::StrCat("the text has a NUL at byte ", nul));
  }
  if (!IsValidUtf8(text)) return InvalidArgument("INVALID_UTF8", "the text is not valid UTF-8");
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& dir,
                                                           int context_length) {
  if (context_length < 2) {
    return InvalidArgument("BAD_TOKENIZER", absl::StrCat("a context of ", context_length,
                                                         " tokens has no room for any text"));
  }
  absl::StatusOr<TokenizerFiles> files = ReadTokenizerFiles(dir);
  if (!files.ok()) return files.status();
  absl::StatusOr<Bpe> bpe = Bpe::Make(files->vocabulary, files->merges, files->unknown);
  if (!bpe.ok()) {
    return InvalidArgument("BAD_TOKENIZER", absl::StrCat(dir, ": ", bpe.status().message()));
  }
  return std::make_unique<ClipTokenizer>(*std::move(bpe), *files, context_length);
}

}  // namespace imagesearch::encoder
