// Any bytes as the files of an index snapshot: damaged ones are refused by name, and files whose
// checksums are right and whose content is any bytes are refused too, or can be read to the last
// row and searched. The first byte chooses the file and whether its checksums fit. Built and run by
// tests/fuzz/run.sh.
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>

#include "base/error.h"
#include "index/ann/ann_index.h"
#include "index/store/checked_file.h"
#include "index/store/records.pb.h"
#include "index/store/row_file.h"
#include "tests/fuzz/made_rows.h"

namespace {

using namespace imagesearch::index;  // NOLINT: a fuzzer is one file

void CheckNamed(const absl::Status& status) {
  if (!status.ok() && imagesearch::ReasonOf(status).empty()) std::abort();
}

void ReadRows(const std::string& path) {
  const FileIdentity identity{kFuzzInstance, kFuzzCollection, kFuzzDimension, kFuzzModel};
  const auto rows = RowFile::Open(path, identity);
  CheckNamed(rows.status());
  if (!rows.ok()) return;
  double sum = 0;
  for (uint32_t row = 0; row < (*rows)->rows(); ++row) {
    for (int i = 0; i < (*rows)->dimension(); ++i) sum += (*rows)->Row(row)[i];
    for (const char c : (*rows)->id(row)) sum += c;
    sum += (*rows)->slots()[row];
    (*rows)->RowOfSlot((*rows)->slots()[row]);
  }
  static volatile double sink;
  sink = sum;
}

void Search(const AnnIndex& index) {
  const MadeRows& rows = *FuzzRows();
  for (const QueryKind kind : {QueryKind::kImage, QueryKind::kText}) {
    for (const int effort : {0, 8}) {
      AnnQuery query;
      query.vector = rows.Row(1);
      query.kind = kind;
      query.k = 5;
      query.effort = effort;
      const auto found = index.Search(query);
      if (found.size() > 5) std::abort();
      for (const Neighbor& neighbor : found) {
        if (neighbor.row >= rows.rows()) std::abort();
      }
    }
  }
}

void ReadIndex(absl::string_view payload) {
  MemorySource source(payload);
  const auto index = LoadAnnIndex(source, FuzzRows());
  CheckNamed(index.status());
  if (index.ok()) Search(**index);
}

void Read(FileKind kind, const std::string& path) {
  if (kind == FileKind::kRows) return ReadRows(path);
  const auto file = CheckedFile::Open(path, kind);
  CheckNamed(file.status());
  if (!file.ok()) return;
  const absl::string_view description = (*file)->description();
  if (kind == FileKind::kAnn) {
    records::SegmentDescription segment;
    (void)segment.ParseFromArray(description.data(), static_cast<int>(description.size()));
    ReadIndex((*file)->payload());
  } else {
    records::SnapshotDescription snapshot;
    (void)snapshot.ParseFromArray(description.data(), static_cast<int>(description.size()));
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const std::string path = "snapshot-" + std::to_string(getpid());
  if (size < 3) return 0;
  const FileKind kind =
      std::array{FileKind::kRows, FileKind::kAnn, FileKind::kSnapshot}[data[0] % 3];
  if (data[0] >= 128) {  // as it is
    std::FILE* file = std::fopen(path.c_str(), "wb");
    if (file == nullptr || std::fwrite(data + 1, 1, size - 1, file) != size - 1) std::abort();
    std::fclose(file);
    Read(kind, path);
    return 0;
  }
  // Its checksums fit: the second byte says how much of the rest is the description.
  const size_t described = std::min<size_t>(data[1], size - 2);
  auto file = CheckedFileWriter::Create(rocksdb::Env::Default(), path, kind);
  if (!file.ok()) std::abort();
  (*file)->Write(data + 2 + described, size - 2 - described);
  if (!(*file)->Finish({reinterpret_cast<const char*>(data) + 2, described}).ok()) std::abort();
  Read(kind, path);
  return 0;
}
