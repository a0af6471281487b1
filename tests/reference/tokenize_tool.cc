// Tokenises the strings of a file, for comparison with the reference tokenizer.
// Usage: tokenize_tool MODEL_DIR CONTEXT_LENGTH STRINGS OUT. STRINGS holds, for each string, its
// length in bytes and its bytes; OUT gets, for each, the number of ids and the ids (-1 and no ids
// where the text is refused). All numbers are little-endian int32.
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <memory>
#include <string>

#include "encoder/text/tokenizer.h"

namespace {

bool ReadInt(std::istream& in, int32_t& value) {
  return static_cast<bool>(in.read(reinterpret_cast<char*>(&value), sizeof(value)));
}
void WriteInt(std::ostream& out, int32_t value) {
  out.write(reinterpret_cast<const char*>(&value), sizeof(value));
}

}  // namespace

int main(int argc, char** argv) {
  using imagesearch::encoder::Tokenizer;
  if (argc != 5) {
    std::cerr << "usage: tokenize_tool MODEL_DIR CONTEXT_LENGTH STRINGS OUT\n";
    return 2;
  }
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer =
      Tokenizer::Load(argv[1], std::atoi(argv[2]));
  if (!tokenizer.ok()) {
    std::cerr << tokenizer.status() << "\n";
    return 1;
  }
  std::ifstream in(argv[3], std::ios::binary);
  std::ofstream out(argv[4], std::ios::binary);
  for (int32_t size; ReadInt(in, size);) {
    std::string text(static_cast<size_t>(size), '\0');
    in.read(text.data(), size);
    const auto tokens = (*tokenizer)->Encode(text);
    if (!tokens.ok()) {
      WriteInt(out, -1);
      continue;
    }
    WriteInt(out, static_cast<int32_t>(tokens->ids.size()));
    for (int32_t id : tokens->ids) WriteInt(out, id);
  }
  return out.flush() ? 0 : 1;
}
