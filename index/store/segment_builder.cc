#include "index/store/segment_builder.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/error.h"
#include "index/store/checked_file.h"
#include "index/store/crash_point.h"
#include "index/store/keys.h"
#include "index/store/records.pb.h"
#include "index/store/rocks_status.h"
#include "index/store/vector_value.h"

namespace imagesearch::index {
namespace {

// Unique, since a range can be built more than once.
std::string NewName(uint32_t first_slot, uint32_t end_slot) {
  std::random_device random;
  return absl::StrFormat("%08x-%08x-%08x", first_slot, end_slot, random());
}

absl::StatusOr<std::shared_ptr<const RowFile>> WriteRows(
    Engine* engine, const CollectionState& state, const StoreSnapshot& snapshot,
    uint32_t first_slot, uint32_t end_slot, const std::string& path, const JobControl& control) {
  const FileIdentity identity = IdentityOf(*engine, state);
  auto writer = RowFileWriter::Create(engine->store->env(), path, identity);
  if (!writer.ok()) return writer.status();
  RocksStore::Range range =
      engine->store->Scan(Family::kVectors, VectorKey(state.id, first_slot),
                          VectorKey(state.id, end_slot), snapshot, /*sequential=*/true);
  std::vector<float> vector;
  for (; range.Valid(); range.Next()) {
    if (control.IsCancelled()) return JobCancelled();
    // Reading the rows is about a quarter of a build.
    if ((*writer)->rows() % 1024 == 0) {
      control.Report((*writer)->rows(), 4 * uint64_t{end_slot - first_slot});
    }
    const uint32_t slot = ReadBigEndian<uint32_t>(range.key().substr(sizeof(uint32_t)));
    absl::string_view id;
    if (!DecodeVectorValue(range.value(), identity.dimension, &id, &vector)) {
      return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                   absl::StrCat("collection '", state.options.name, "': the vector of slot ", slot,
                                " is unreadable"));
    }
    (*writer)->Add(slot, id, vector.data());
  }
  absl::Status status = range.status();
  if (!status.ok()) return status;
  if ((*writer)->rows() == 0) return nullptr;
  status = (*writer)->Finish(first_slot, end_slot);
  if (!status.ok()) return status;
  return RowFile::Open(path, identity);
}

}  // namespace

std::string IndexFolder(const Engine& engine, uint32_t collection) {
  return absl::StrCat(engine.options.data_dir, "/index/", collection);
}

FileIdentity IdentityOf(const Engine& engine, const CollectionState& state) {
  return {engine.store->instance_id(), state.id, state.options.dimension,
          state.options.model_fingerprint};
}

absl::StatusOr<std::shared_ptr<const Segment>> BuildSegment(
    Engine* engine, const CollectionState& state, const StoreSnapshot& snapshot,
    uint32_t first_slot, uint32_t end_slot, const std::function<IndexKind(uint64_t)>& kind_for,
    int threads, const JobControl& control) {
  rocksdb::Env* env = engine->store->env();
  const std::string folder = IndexFolder(*engine, state.id);
  const std::string root = engine->options.data_dir + "/index";
  rocksdb::Status made = env->CreateDirIfMissing(root);
  if (made.ok()) made = env->CreateDirIfMissing(folder);
  if (!made.ok()) return FromRocks(made, "making " + folder);
  // Vectors, and at most as much again for codes, links and ids.
  absl::Status space = engine->store->CheckDiskSpace(uint64_t{2} * (end_slot - first_slot) *
                                                     state.options.dimension * sizeof(float));
  if (!space.ok()) return space;
  const std::string name = NewName(first_slot, end_slot);
  const std::string path = absl::StrCat(folder, "/", name);
  auto rows = WriteRows(engine, state, snapshot, first_slot, end_slot, path + ".rows", control);
  if (!rows.ok()) return rows.status();
  if (*rows == nullptr) return nullptr;

  AnnBuildOptions build;
  build.index = state.current().index;
  build.index.kind = kind_for((*rows)->rows());
  const uint64_t live = state.view()->live, own = (*rows)->rows();
  build.rows_beside = live - std::min(live, own);
  build.threads = threads;
  build.cancelled = control.cancelled;
  // What the model's texts look like in general, and what is asked here.
  if (engine->options.text_sample) build.text_sample = engine->options.text_sample(state.options);
  const std::vector<float> asked = state.probe.TextSample();
  build.text_sample.insert(build.text_sample.end(), asked.begin(), asked.end());
  auto index = BuildAnnIndex(*rows, build);
  if (!index.ok()) {
    env->DeleteFile(path + ".rows").PermitUncheckedError();
    return index.status();
  }
  CrashPoint("segment.built");
  auto file = CheckedFileWriter::Create(env, path + ".ann", FileKind::kAnn);
  if (!file.ok()) return file.status();
  absl::Status saved = (*index)->Save(**file);
  if (!saved.ok()) return saved;
  records::SegmentDescription description;
  description.set_instance_id(engine->store->instance_id());
  description.set_collection(state.id);
  description.set_dimension(state.options.dimension);
  description.set_model_fingerprint(state.options.model_fingerprint);
  description.set_rows((*rows)->rows());
  description.set_first_slot(first_slot);
  description.set_end_slot(end_slot);
  description.set_requested_kind(static_cast<uint32_t>(build.index.kind));
  saved = (*file)->Finish(description.SerializeAsString());
  if (!saved.ok()) return saved;
  return std::make_shared<const Segment>(*std::move(rows), *std::move(index), build.index.kind,
                                         name);
}

absl::StatusOr<std::shared_ptr<const Segment>> ReadSegment(const Engine& engine,
                                                           const CollectionState& state,
                                                           const std::string& name) {
  const std::string path = absl::StrCat(IndexFolder(engine, state.id), "/", name);
  const FileIdentity identity = IdentityOf(engine, state);
  auto rows = RowFile::Open(path + ".rows", identity);
  if (!rows.ok()) return rows.status();
  auto file = CheckedFile::Open(path + ".ann", FileKind::kAnn);
  if (!file.ok()) return file.status();
  records::SegmentDescription description;
  const absl::string_view bytes = (*file)->description();
  if (!description.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) ||
      description.instance_id() != identity.instance_id ||
      description.collection() != identity.collection || description.rows() != (*rows)->rows() ||
      description.first_slot() != (*rows)->first_slot() ||
      description.end_slot() != (*rows)->end_slot()) {
    return Error(absl::StatusCode::kDataLoss, "INDEX_FILE_CORRUPT",
                 absl::StrCat(path, ".ann belongs to other rows"));
  }
  MemorySource source((*file)->payload());
  auto index = LoadAnnIndex(source, *rows);
  if (!index.ok()) return index.status();
  return std::make_shared<const Segment>(*std::move(rows), *std::move(index),
                                         static_cast<IndexKind>(description.requested_kind()),
                                         name);
}

}  // namespace imagesearch::index
