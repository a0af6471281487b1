// Whole index files and backup manifests, as the fuzzers of snapshots and backups take them.
#include <unistd.h>

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <memory>

#include "index/ann/ann_index.h"
#include "index/store/checked_file.h"
#include "index/store/crc32c.h"
#include "index/store/records.pb.h"
#include "index/store/row_file.h"
#include "rocksdb/env.h"
#include "tests/fuzz/made_rows.h"
#include "tests/fuzz/seeds.h"

namespace imagesearch::fuzz {
namespace {

using namespace index;  // NOLINT: a seed maker is one file

// The first byte of a snapshot input: the kind, plus 129 (a multiple of 3 from 128 on) for a file
// that is taken as it is.
constexpr int kAsItIs = 129;

class StringSink : public ByteSink {
 public:
  void Write(const void* data, size_t size) override {
    bytes.append(static_cast<const char*>(data), size);
  }
  std::string bytes;
};

std::string ReadAndRemove(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::string bytes{std::istreambuf_iterator<char>(in), {}};
  unlink(path.c_str());
  return bytes;
}

// A payload and a description under checksums that the fuzzer makes anew each time.
std::string Checked(char kind, const std::string& description, const std::string& payload) {
  if (description.size() > 255) std::abort();
  return std::string{kind, static_cast<char>(description.size())} + description + payload;
}

std::string WholeFile(char kind, FileKind file_kind, const std::string& description,
                      const std::string& payload) {
  const std::string path = "seed-" + std::to_string(getpid());
  auto file = CheckedFileWriter::Create(rocksdb::Env::Default(), path, file_kind);
  if (!file.ok()) std::abort();
  (*file)->Write(payload.data(), payload.size());
  if (!(*file)->Finish(description).ok()) std::abort();
  return static_cast<char>(kAsItIs + kind) + ReadAndRemove(path);
}

records::SegmentDescription Describe() {
  records::SegmentDescription description;
  description.set_instance_id(kFuzzInstance);
  description.set_collection(kFuzzCollection);
  description.set_dimension(kFuzzDimension);
  description.set_model_fingerprint(kFuzzModel);
  description.set_rows(FuzzRows()->rows());
  description.set_end_slot(FuzzRows()->rows());
  return description;
}

}  // namespace

std::vector<std::string> SnapshotSeeds() {
  std::vector<std::string> seeds;
  {
    const std::string path = "rows-" + std::to_string(getpid());
    auto writer =
        RowFileWriter::Create(rocksdb::Env::Default(), path,
                              {kFuzzInstance, kFuzzCollection, kFuzzDimension, kFuzzModel});
    if (!writer.ok()) std::abort();
    for (uint32_t row = 0; row < 5; ++row) {
      (*writer)->Add(2 * row, "id" + std::to_string(row), FuzzRows()->Row(row));
    }
    if (!(*writer)->Finish(0, 10).ok()) std::abort();
    const auto file = CheckedFile::Open(path, FileKind::kRows);
    if (!file.ok()) std::abort();
    const std::string description((*file)->description()), payload((*file)->payload());
    seeds.push_back(Checked(0, description, payload));
    seeds.push_back(WholeFile(0, FileKind::kRows, description, payload));
    unlink(path.c_str());
  }
  for (const IndexKind kind : {IndexKind::kFlat, IndexKind::kIvf, IndexKind::kHnsw}) {
    AnnBuildOptions options;
    options.index.kind = kind;
    options.index.ivf_nlist = kind == IndexKind::kFlat ? 0 : 4;
    auto index = BuildAnnIndex(FuzzRows(), options);
    if (!index.ok()) std::abort();
    StringSink sink;
    if (!(*index)->Save(sink).ok()) std::abort();
    const std::string description = Describe().SerializeAsString();
    seeds.push_back(Checked(1, description, sink.bytes));
    seeds.push_back(WholeFile(1, FileKind::kAnn, description, sink.bytes));
  }
  records::SnapshotDescription snapshot;
  snapshot.set_instance_id(kFuzzInstance);
  snapshot.set_version(7);
  snapshot.add_segments("00000000-00000060-01234567");
  seeds.push_back(Checked(2, snapshot.SerializeAsString(), ""));
  seeds.push_back(WholeFile(2, FileKind::kSnapshot, snapshot.SerializeAsString(), ""));
  return seeds;
}

std::vector<std::string> BackupSeeds() {
  std::vector<std::string> seeds;
  for (const std::vector<std::string>& names : std::vector<std::vector<std::string>>{
           {},
           {"FORMAT"},
           {"FORMAT", "db/CURRENT", "db/000004.log", "index/1/a.rows"},
           {"FORMAT", "../beside"},
           {"db/../../beside"},
           {"/beside"}}) {
    records::BackupManifest manifest;
    manifest.set_version(1);
    manifest.set_instance_id(kFuzzInstance);
    for (const std::string& name : names) {
      auto* entry = manifest.add_files();
      entry->set_name(name);
      entry->set_size(2);
      entry->set_crc32c(Crc32c("1\n", 2));
    }
    const std::string payload = manifest.SerializeAsString();
    seeds.push_back('\1' + payload);
    seeds.push_back('\2' + payload);
  }
  return seeds;
}

}  // namespace imagesearch::fuzz
