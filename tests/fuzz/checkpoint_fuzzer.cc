// Any bytes as the files of a checkpoint: the readers answer OK, MODEL_DAMAGED or another named
// error, and what they accept can be read to its last byte. The first byte chooses: weights, or a
// configuration of either kind. Built and run by tests/fuzz/run.sh.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "base/error.h"
#include "encoder/clip/config.h"
#include "encoder/clip/safetensors.h"

namespace {

using imagesearch::encoder::ReadConfig;
using imagesearch::encoder::Safetensors;

// In the working directory, which tests/fuzz/run.sh puts in memory.
const std::string& Folder() {
  static const std::string* folder = [] {
    auto* path = new std::string("checkpoint-" + std::to_string(getpid()));
    mkdir(path->c_str(), 0700);
    return path;
  }();
  return *folder;
}

void Write(const std::string& name, const uint8_t* data, size_t size) {
  std::FILE* file = std::fopen((Folder() + "/" + name).c_str(), "wb");
  if (file == nullptr || std::fwrite(data, 1, size, file) != size) std::abort();
  std::fclose(file);
}

void CheckNamed(const absl::Status& status) {
  if (!status.ok() && imagesearch::ReasonOf(status).empty()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const char* kNames[] = {"config.json", "open_clip_config.json",
                                 "preprocessor_config.json"};
  if (data[0] % 4 == 0) {
    Write("model.safetensors", data + 1, size - 1);
    const auto weights = Safetensors::Open(Folder(), "model.safetensors");
    CheckNamed(weights.status());
    if (weights.ok()) {
      uint64_t sum = 0;
      for (const char* name : {"a", "b", "weight"}) {
        const auto* tensor = (*weights)->Find(name);
        for (uint64_t i = 0; tensor != nullptr && i < tensor->bytes; ++i) sum += tensor->data[i];
      }
      static volatile uint64_t sink;
      sink = sum;
    }
    return 0;
  }
  const std::string name = kNames[data[0] % 4 - 1];
  Write(name, data + 1, size - 1);
  CheckNamed(ReadConfig(Folder()).status());
  std::remove((Folder() + "/" + name).c_str());
  return 0;
}
