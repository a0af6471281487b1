// Any bytes as the manifest of a backup, with right checksums or without: a restore ends with a
// named error or with a data folder, and writes nowhere else. Built and run by tests/fuzz/run.sh.
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "index/embedded_database.h"
#include "index/store/checked_file.h"
#include "index/store/crc32c.h"
#include "index/store/records.pb.h"
#include "rocksdb/env.h"

namespace {

using namespace imagesearch::index;  // NOLINT: a fuzzer is one file

constexpr const char* kFiles[] = {"FORMAT", "db/CURRENT", "db/000004.log", "index/1/a.rows"};
constexpr char kContent[] = "1\n";

// The backup's own files are in memory, but for the manifest, which is mapped from a real one.
void Put(rocksdb::Env* env, const std::string& path) {
  if (!rocksdb::WriteStringToFile(env, kContent, path, false).ok()) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string backup = "backup-" + std::to_string(getpid());
  static const bool made = mkdir(backup.c_str(), 0700) == 0;
  if (!made) std::abort();
  if (size < 2) return 0;
  const std::string manifest_path = backup + "/BACKUP";
  if (data[0] % 4 == 0) {  // as it is
    std::FILE* file = std::fopen(manifest_path.c_str(), "wb");
    if (file == nullptr || std::fwrite(data + 1, 1, size - 1, file) != size - 1) std::abort();
    std::fclose(file);
  } else {
    std::string payload(reinterpret_cast<const char*>(data) + 1, size - 1);
    records::BackupManifest manifest;
    if (data[0] % 4 == 1 && manifest.ParseFromString(payload)) {
      // Names that are there are whole: the rest of the restore is reached.
      for (auto& entry : *manifest.mutable_files()) {
        entry.set_size(sizeof(kContent) - 1);
        entry.set_crc32c(Crc32c(kContent, sizeof(kContent) - 1));
      }
      payload = manifest.SerializeAsString();
    }
    auto file =
        CheckedFileWriter::Create(rocksdb::Env::Default(), manifest_path, FileKind::kBackup);
    if (!file.ok()) std::abort();
    (*file)->Write(payload.data(), payload.size());
    if (!(*file)->Finish("").ok()) std::abort();
  }
  const std::unique_ptr<rocksdb::Env> env(rocksdb::NewMemEnv(rocksdb::Env::Default()));
  for (const char* folder : {"", "/db", "/index", "/index/1"}) {
    if (!env->CreateDirIfMissing(backup + folder).ok()) std::abort();
  }
  for (const char* name : kFiles) Put(env.get(), backup + "/" + name);
  Put(env.get(), "beside");
  const auto restored = RestoreBackup(backup, "data", {}, env.get());
  if (!restored.ok() && imagesearch::ReasonOf(restored.status()).empty()) std::abort();
  // Nothing but the data folder was touched.
  std::string content;
  if (!rocksdb::ReadFileToString(env.get(), "beside", &content).ok() || content != kContent) {
    std::abort();
  }
  for (const char* name : kFiles) {
    if (!rocksdb::ReadFileToString(env.get(), backup + "/" + name, &content).ok() ||
        content != kContent) {
      std::abort();
    }
  }
  return 0;
}
