// Any bytes as an index file: damaged ones are refused by name, and a file whose checksums are
// right and whose payload is any bytes is refused too, or can be read to its last row. Built and
// run by tests/fuzz/input_fuzzers.sh.
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "index/store/checked_file.h"
#include "index/store/row_file.h"

namespace {

using namespace imagesearch::index;  // NOLINT: a fuzzer is one file

const FileIdentity& Identity() {
  static const auto* identity = new FileIdentity{"0123456789abcdef", 1, 4, "model"};
  return *identity;
}

void Read(const std::string& path) {
  const auto rows = RowFile::Open(path, Identity());
  if (!rows.ok()) {
    if (imagesearch::ReasonOf(rows.status()).empty()) std::abort();
    return;
  }
  double sum = 0;
  for (uint32_t row = 0; row < (*rows)->rows(); ++row) {
    for (int i = 0; i < (*rows)->dimension(); ++i) sum += (*rows)->Row(row)[i];
    for (const char c : (*rows)->id(row)) sum += c;
    sum += (*rows)->slots()[row];
  }
  (*rows)->RowOfSlot(static_cast<uint32_t>(sum));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string path = "/dev/shm/store_fuzzer_" + std::to_string(getpid());
  if (size < 3) return 0;
  if (data[0] % 2 == 0) {
    std::FILE* file = std::fopen(path.c_str(), "wb");
    if (file == nullptr || std::fwrite(data + 1, 1, size - 1, file) != size - 1) std::abort();
    std::fclose(file);
    Read(path);
    return 0;
  }
  // Its checksums fit: the second byte says how much of the rest is the description.
  const size_t described = data[1] < size - 2 ? data[1] : size - 2;
  std::remove(path.c_str());
  auto file = CheckedFileWriter::Create(rocksdb::Env::Default(), path, FileKind::kRows);
  if (!file.ok()) std::abort();
  (*file)->Write(data + 2 + described, size - 2 - described);
  if (!(*file)->Finish({reinterpret_cast<const char*>(data) + 2, described}).ok()) std::abort();
  Read(path);
  return 0;
}
