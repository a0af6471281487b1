// Any bytes as a tokenizer file of a checkpoint, and as text: loading answers with a tokenizer or
// an error that names the file, and a tokenizer takes any text that CheckText accepts. The first
// byte says which file; 0x80 and above: text for a fixed vocabulary. Built and run by
// tests/fuzz/run.sh.
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include "absl/strings/string_view.h"
#include "encoder/text/tokenizer.h"

namespace {

using imagesearch::encoder::Tokenizer;

constexpr int kContext = 16;
constexpr const char* kFiles[] = {
    "tokenizer.json",          "vocab.json",       "merges.txt", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json"};
constexpr const char* kVocabulary =
    R"({"a":0,"b":1,"a</w>":2,"b</w>":3,"ab":4,"ab</w>":5,"<|startoftext|>":6,"<|endoftext|>":7})";

class Folder {
 public:
  Folder() : path_("fuzz-" + std::to_string(getpid())) {
    std::filesystem::create_directories(path_);
    Reset();
    tokenizer_ = *Tokenizer::Load(path_, kContext);
  }
  void Reset() {
    for (const char* name : kFiles) std::filesystem::remove(path_ + "/" + name);
    Write("vocab.json", kVocabulary);
    Write("merges.txt", "#version: 0.2\na b\na b</w>\n");
  }
  void Write(const std::string& name, absl::string_view bytes) {
    std::ofstream(path_ + "/" + name, std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
  }
  const std::string& path() const { return path_; }
  const Tokenizer& tokenizer() const { return *tokenizer_; }

 private:
  const std::string path_;
  std::unique_ptr<Tokenizer> tokenizer_;
};

void CheckEncode(const Tokenizer& tokenizer, absl::string_view text) {
  if (!imagesearch::encoder::CheckText(text, 4096).ok()) return;
  const auto tokens = tokenizer.Encode(text);
  if (!tokens.ok() || tokens->ids.size() < 2 || tokens->ids.size() > kContext) std::abort();
  if (tokens->ids.front() != tokenizer.start_id() || tokens->ids.back() != tokenizer.end_id()) {
    std::abort();
  }
  for (int32_t id : tokens->ids) {
    if (id < 0 || id >= tokenizer.vocab_size()) std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static Folder folder;
  if (size == 0) return 0;
  const absl::string_view rest(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] >= 0x80) {
    CheckEncode(folder.tokenizer(), rest);
    return 0;
  }
  folder.Write(kFiles[data[0] % 6], rest);
  const auto loaded = Tokenizer::Load(folder.path(), kContext);
  if (loaded.ok()) {
    CheckEncode(**loaded, "a photo of AB's <|endoftext|> \xF0\x9F\x90\xB1");
  } else if (loaded.status().code() == absl::StatusCode::kInternal) {
    std::abort();
  }
  folder.Reset();
  return 0;
}
