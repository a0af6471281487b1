#include "index/store/recovery.h"

#include <algorithm>
#include <future>
#include <map>
#include <set>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/store/keys.h"
#include "index/store/segment_builder.h"
#include "index/store/snapshot.h"
#include "index/store/vector_value.h"

namespace imagesearch::index {
namespace {

absl::Status Damaged(const CollectionState& state, absl::string_view what) {
  return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
               absl::StrCat("collection '", state.options.name, "': ", what));
}

// Fills field index and expiry; returns the slots in use.
absl::StatusOr<Bitmap> LoadItems(Engine* engine, const StoreSnapshot& snapshot,
                                 CollectionState* state) {
  Bitmap live;
  RocksStore::Range range =
      engine->store->Scan(Family::kItems, CollectionPrefix(state->id),
                          CollectionPrefix(state->id + 1), snapshot, /*sequential=*/true);
  records::Item item;
  uint64_t count = 0;
  for (; range.Valid(); range.Next()) {
    const absl::string_view id = range.key().substr(sizeof(uint32_t));
    if (!item.ParseFromArray(range.value().data(), static_cast<int>(range.value().size()))) {
      return Damaged(*state, absl::StrCat("the record of image '", id, "' is unreadable"));
    }
    if (!live.addChecked(item.slot())) {
      return Damaged(*state, absl::StrCat("slot ", item.slot(), " is taken twice"));
    }
    state->LoadItem(id, item);
    state->stored_bytes.fetch_add(
        static_cast<int64_t>(StoredBytes(id, item, state->options.dimension)));
    if (++count % 100'000 == 0 && engine->options.on_progress) {
      engine->options.on_progress(
          absl::StrCat("collection '", state->options.name, "': read ", count, " records"));
    }
  }
  absl::Status status = range.status();
  if (!status.ok()) return status;
  return live;
}

uint64_t LiveIn(const Bitmap& live, uint32_t first_slot, uint64_t end_slot) {
  const uint64_t below_end = end_slot == 0 ? 0 : live.rank(static_cast<uint32_t>(end_slot - 1));
  return below_end - (first_slot == 0 ? 0 : live.rank(first_slot - 1));
}

// Segments as read from their files, by name.
using SegmentsRead = std::map<std::string, absl::StatusOr<std::shared_ptr<const Segment>>>;

SegmentsRead ReadNewestSegments(const Engine& engine, const CollectionState& state) {
  SegmentsRead read;
  std::vector<std::string> problems;  // met, and told, again by ReadSegments
  const auto snapshots = ReadSnapshots(engine, state, &problems);
  if (snapshots.empty()) return read;
  for (const std::string& name : snapshots.front().segments()) {
    read.emplace(name, ReadSegment(engine, state, name));
  }
  return read;
}

// The whole segments of the newest snapshot that names them; where one is damaged, an older
// snapshot's that fits between the others. `ahead` has those that were read already.
std::vector<std::shared_ptr<const Segment>> ReadSegments(const Engine& engine,
                                                         const CollectionState& state,
                                                         const Bitmap& live, SegmentsRead ahead) {
  std::vector<std::string> problems;
  std::vector<std::shared_ptr<const Segment>> segments;
  std::set<std::string> tried;
  for (const auto& snapshot : ReadSnapshots(engine, state, &problems)) {
    for (const std::string& name : snapshot.segments()) {
      if (!tried.insert(name).second) continue;
      const auto found = ahead.find(name);
      auto read =
          found != ahead.end() ? std::move(found->second) : ReadSegment(engine, state, name);
      if (!read.ok()) {
        problems.push_back(read.status().ToString());
        continue;
      }
      const std::shared_ptr<const Segment> segment = *std::move(read);
      const bool overlaps = std::any_of(segments.begin(), segments.end(), [&](const auto& other) {
        return segment->first_slot() < other->end_slot() &&
               other->first_slot() < segment->end_slot();
      });
      if (overlaps) continue;
      uint64_t held = 0;
      for (uint32_t row = 0; row < segment->rows(); ++row)
        held += live.contains(segment->slot(row));
      if (held != LiveIn(live, segment->first_slot(), segment->end_slot())) {
        problems.push_back(absl::StrCat(name, " lacks vectors of its range"));
        continue;
      }
      segments.push_back(segment);
    }
  }
  std::sort(segments.begin(), segments.end(),
            [](const auto& a, const auto& b) { return a->first_slot() < b->first_slot(); });
  if (engine.options.on_progress) {
    for (const std::string& problem : problems) {
      engine.options.on_progress(absl::StrCat("collection '", state.options.name,
                                              "': rebuilding from the store: ", problem));
    }
  }
  return segments;
}

absl::Status LoadTail(Engine* engine, const StoreSnapshot& snapshot, const Bitmap& live,
                      uint32_t first_slot, CollectionState* state) {
  RocksStore::Range range =
      engine->store->Scan(Family::kVectors, VectorKey(state->id, first_slot),
                          CollectionPrefix(state->id + 1), snapshot, /*sequential=*/true);
  std::vector<float> vector;
  for (; range.Valid(); range.Next()) {
    const uint32_t slot = ReadBigEndian<uint32_t>(range.key().substr(sizeof(uint32_t)));
    absl::string_view id;
    if (!DecodeVectorValue(range.value(), state->options.dimension, &id, &vector)) {
      return Damaged(*state, absl::StrCat("the vector of slot ", slot, " is unreadable"));
    }
    if (!live.contains(slot)) {
      return Damaged(*state, absl::StrCat("slot ", slot, " has a vector but no record"));
    }
    state->LoadTailRow(slot, id, vector);
  }
  return range.status();
}

// Builds what no file held: exact segments, which the merger turns into better ones later.
absl::Status BuildGap(Engine* engine, const StoreSnapshot& snapshot, const Bitmap& live,
                      uint32_t first_slot, uint32_t end_slot, CollectionState* state) {
  if (LiveIn(live, first_slot, end_slot) == 0) return absl::OkStatus();
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  auto segment =
      BuildSegment(engine, *state, snapshot, first_slot, end_slot,
                   [](uint64_t) { return IndexKind::kFlat; }, cores, {nullptr, engine->cancelled});
  if (!segment.ok()) return segment.status();
  if (*segment != nullptr) state->LoadSegment(*std::move(segment), live);
  return absl::OkStatus();
}

absl::Status LoadVectors(Engine* engine, const StoreSnapshot& snapshot, const Bitmap& live,
                         uint64_t next_slot, SegmentsRead ahead, CollectionState* state) {
  uint32_t covered = 0;  // slots below it are loaded
  for (std::shared_ptr<const Segment>& segment :
       ReadSegments(*engine, *state, live, std::move(ahead))) {
    // A reader builds nothing: what stands behind a gap, or was built of newer writes, is its tail.
    if (engine->reader &&
        (segment->end_slot() > next_slot || LiveIn(live, covered, segment->first_slot()) > 0)) {
      break;
    }
    absl::Status status = BuildGap(engine, snapshot, live, covered, segment->first_slot(), state);
    if (!status.ok()) return status;
    covered = segment->end_slot();
    state->LoadSegment(std::move(segment), live);
  }
  const auto end = static_cast<uint32_t>(next_slot);
  if (!engine->reader &&
      LiveIn(live, covered, end) >= static_cast<uint64_t>(engine->options.merge_tail_rows)) {
    absl::Status status = BuildGap(engine, snapshot, live, covered, end, state);
    if (!status.ok()) return status;
    covered = end;
  }
  return LoadTail(engine, snapshot, live, covered, state);
}

}  // namespace

CollectionOptions OptionsOf(const records::CollectionRecord& record) {
  CollectionOptions options;
  options.name = record.name();
  options.dimension = record.dimension();
  options.model_id = record.model_id();
  options.model_fingerprint = record.model_fingerprint();
  options.quota = {record.max_images(), record.max_bytes()};
  options.keep_originals = record.keep_originals();
  options.index.kind = static_cast<IndexKind>(record.index().kind());
  options.index.hnsw_m = record.index().hnsw_m();
  options.index.hnsw_ef_construction = record.index().hnsw_ef_construction();
  options.index.hnsw_ef_search = record.index().hnsw_ef_search();
  options.index.ivf_nlist = record.index().ivf_nlist();
  options.index.ivf_nprobe = record.index().ivf_nprobe();
  options.index.target_recall = record.index().target_recall();
  options.index.pq_bytes = record.index().pq_bytes();
  options.index.memory_bytes = record.index().memory_bytes();
  return options;
}

records::CollectionRecord RecordOf(uint32_t id, const CollectionOptions& options) {
  records::CollectionRecord record;
  record.set_id(id);
  record.set_name(options.name);
  record.set_dimension(options.dimension);
  record.set_model_id(options.model_id);
  record.set_model_fingerprint(options.model_fingerprint);
  record.set_max_images(options.quota.max_images);
  record.set_max_bytes(options.quota.max_bytes);
  record.set_keep_originals(options.keep_originals);
  records::IndexSpec* index = record.mutable_index();
  index->set_kind(static_cast<uint32_t>(options.index.kind));
  index->set_hnsw_m(options.index.hnsw_m);
  index->set_hnsw_ef_construction(options.index.hnsw_ef_construction);
  index->set_hnsw_ef_search(options.index.hnsw_ef_search);
  index->set_ivf_nlist(options.index.ivf_nlist);
  index->set_ivf_nprobe(options.index.ivf_nprobe);
  index->set_target_recall(options.index.target_recall);
  index->set_pq_bytes(options.index.pq_bytes);
  index->set_memory_bytes(options.index.memory_bytes);
  return record;
}

absl::StatusOr<std::vector<records::CollectionRecord>> ReadCollectionRecords(
    const RocksStore& store) {
  std::vector<records::CollectionRecord> collections;
  const std::string from(1, kCollectionTag), to(1, kCollectionTag + 1);
  RocksStore::Range range = store.Scan(Family::kDefault, from, to, nullptr, /*sequential=*/false);
  for (; range.Valid(); range.Next()) {
    if (!collections.emplace_back().ParseFromArray(range.value().data(),
                                                   static_cast<int>(range.value().size()))) {
      return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                   "the record of a collection is unreadable");
    }
  }
  absl::Status status = range.status();
  if (!status.ok()) return status;
  return collections;
}

absl::StatusOr<records::CollectionRecord> ReadCollectionRecord(const RocksStore& store,
                                                               uint32_t id) {
  std::string value;
  absl::Status status = store.Get(Family::kDefault, TaggedKey(kCollectionTag, id), nullptr, &value);
  records::CollectionRecord record;
  if (status.ok() && !record.ParseFromString(value)) {
    return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                 "the record of a collection is unreadable");
  }
  if (!status.ok()) return status;
  return record;
}

absl::StatusOr<std::map<std::string, std::string>> ReadAliases(const RocksStore& store) {
  std::map<std::string, std::string> aliases;
  RocksStore::Range range =
      store.Scan(Family::kDefault, kAliasPrefix, kAliasEnd, nullptr, /*sequential=*/false);
  for (; range.Valid(); range.Next()) {
    const absl::string_view alias = range.key().substr(absl::string_view(kAliasPrefix).size());
    aliases[std::string(alias)] = std::string(range.value());
  }
  absl::Status status = range.status();
  if (!status.ok()) return status;
  return aliases;
}

absl::Status LoadCollection(Engine* engine, CollectionState* state) {
  const StoreSnapshot snapshot = engine->store->Snapshot();
  std::string value;
  records::CollectionCounters counters;
  absl::Status status =
      engine->store->Get(Family::kDefault, TaggedKey(kCountersTag, state->id), snapshot, &value);
  if (!status.ok() || !counters.ParseFromString(value)) {
    return Damaged(*state, "its counters are unreadable");
  }
  state->original_bytes.store(counters.original_bytes());
  // Both take seconds for a million images.
  auto segments = std::async(std::launch::async,
                             [engine, state] { return ReadNewestSegments(*engine, *state); });
  auto live = LoadItems(engine, snapshot, state);
  SegmentsRead ahead = segments.get();
  if (!live.ok()) return live.status();
  status = LoadVectors(engine, snapshot, *live, counters.next_slot(), std::move(ahead), state);
  if (!status.ok()) return status;
  state->FinishLoad(counters.version(), snapshot);
  if (state->view()->live != live->cardinality()) {
    return Damaged(*state, absl::StrCat("it has ", live->cardinality(), " records but ",
                                        state->view()->live, " vectors"));
  }
  return absl::OkStatus();
}

}  // namespace imagesearch::index
