// Reads the tokenizer files of a checkpoint folder by the rules of transformers 5's
// CLIPTokenizer.from_pretrained.
#ifndef IMAGESEARCH_ENCODER_TEXT_TOKENIZER_FILES_H_
#define IMAGESEARCH_ENCODER_TEXT_TOKENIZER_FILES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "encoder/text/bpe.h"

namespace imagesearch::encoder {

// A token that is found in the text itself, before byte-pair encoding.
struct AddedToken {
  std::string content;
  int32_t id = 0;
  bool normalized = false;   // looked for in normalised text instead of the text as given
  bool left_strip = false;   // takes the white space before it
  bool right_strip = false;  // and after it
  bool single_word = false;  // only between word boundaries
};

struct TokenizerFiles {
  Vocabulary vocabulary;
  MergeList merges;
  std::vector<AddedToken> added;  // no content twice
  std::string start = "<|startoftext|>", end = "<|endoftext|>", unknown = "<|endoftext|>",
              pad = "<|endoftext|>";
};

// Which file wins:
// - Vocabulary and merges: tokenizer.json where it exists (its normaliser, pre-tokenizer and
//   post-processor are ignored: CLIP's own always hold), else vocab.json and merges.txt.
// - Added tokens: "added_tokens_decoder" of tokenizer_config.json, else added_tokens.json, then
//   "added_tokens" of tokenizer.json. The named special tokens join them.
// - Named special tokens (bos, eos, unk, pad, ...): tokenizer_config.json; special_tokens_map.json
//   overrides it unless there is an "added_tokens_decoder"; else CLIP's defaults.
// - Ids: a token that the vocabulary has keeps that id, others follow the vocabulary's end.
// Errors: NOT_FOUND without a vocabulary, DATA_LOSS for a file that is no JSON or not readable to
// its end, INVALID_ARGUMENT for one of the wrong shape; all name the file.
absl::StatusOr<TokenizerFiles> ReadTokenizerFiles(const std::string& dir);

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_TEXT_TOKENIZER_FILES_H_
