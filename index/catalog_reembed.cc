// The catalog's part of re-embedding: collections beside others, and the switch between the two.
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/catalog.h"
#include "index/check_collection.h"
#include "index/store/crash_point.h"
#include "index/store/keys.h"
#include "index/store/recovery.h"

namespace imagesearch::index {
namespace {

using records::CollectionRecord;

absl::Status Precondition(absl::string_view reason, const std::string& message) {
  return Error(absl::StatusCode::kFailedPrecondition, reason, message);
}

absl::Status NothingKept(const std::string& name) {
  return Precondition("NOTHING_KEPT",
                      absl::StrCat("no earlier vectors of collection '", name, "' are kept"));
}

class EmbeddedReembedding final : public Reembedding {
 public:
  EmbeddedReembedding(Catalog* catalog, Catalog::CollectionPtr source,
                      Catalog::CollectionPtr target)
      : catalog_(*catalog), source_(std::move(source)), target_(std::move(target)) {
    source_->state()->TrackChanges(true);
  }
  ~EmbeddedReembedding() override {
    source_->state()->TrackChanges(false);
    ReleaseWrites();
  }

  Collection& source() override { return *source_; }
  Collection& target() override { return *target_; }
  std::optional<std::vector<std::string>> TakeChanged() override {
    return source_->state()->TakeChanged();
  }
  void HoldWrites(absl::Time until) override { source_->state()->HoldWrites(until); }
  void ReleaseWrites() override { source_->state()->HoldWrites(absl::InfinitePast()); }
  absl::StatusOr<uint64_t> CutOver() override { return catalog_.CutOver(source_, target_); }

 private:
  Catalog& catalog_;
  const Catalog::CollectionPtr source_;
  const Catalog::CollectionPtr target_;
};

}  // namespace

std::optional<Catalog::Beside> Catalog::FindBeside(const std::string& of,
                                                   CollectionRecord::Role role) const {
  MutexLock lock(&mutex_);
  for (const auto& [number, other] : beside_) {
    if (other.of == of && other.role == role) return other;
  }
  return std::nullopt;
}

std::vector<Catalog::Beside> Catalog::AllBeside(const std::string& of) const {
  std::vector<Beside> all;
  MutexLock lock(&mutex_);
  for (const auto& [number, other] : beside_) {
    if (other.of == of) all.push_back(other);
  }
  return all;
}

std::vector<ReembedInfo> Catalog::ListReembeds() const {
  std::map<uint32_t, Beside> all;
  {
    MutexLock lock(&mutex_);
    all = beside_;
  }
  std::vector<ReembedInfo> infos;
  for (const auto& [number, other] : all) {
    const CollectionInfo info = other.collection->Info();
    infos.push_back({other.of, other.role == CollectionRecord::BUILDING, info.options.model_id,
                     info.options.model_fingerprint, info.image_count});
  }
  return infos;
}

absl::StatusOr<std::unique_ptr<Reembedding>> Catalog::BeginReembed(const std::string& name,
                                                                   const ModelChange& change) {
  CollectionPtr source, target;
  auto begun = Run([&](WriteGroup* group) -> absl::StatusOr<uint64_t> {
    source = Find(name);
    if (source == nullptr) return NoSuchCollection(name);
    CollectionOptions options = source->options();
    if (options.model_fingerprint == change.model_fingerprint) {
      return Precondition("SAME_MODEL", absl::StrCat("collection '", options.name, "' has model ",
                                                     options.model_id, " already"));
    }
    if (FindBeside(options.name, CollectionRecord::KEPT)) {
      return Precondition("PREVIOUS_KEPT",
                          absl::StrCat("the vectors that collection '", options.name,
                                       "' had before are kept still: drop them, or roll back"));
    }
    if (auto other = FindBeside(options.name, CollectionRecord::BUILDING)) {
      target = other->collection;
      const CollectionOptions other_options = target->options();
      if (other_options.model_fingerprint == change.model_fingerprint) return 0;
      return Precondition("REEMBED_RUNNING",
                          absl::StrCat("collection '", options.name, "' is on its way to model ",
                                       other_options.model_id, ": cancel that first"));
    }
    const std::string of = options.name;
    options.dimension = change.dimension;
    options.model_id = change.model_id;
    options.model_fingerprint = change.model_fingerprint;
    options.index.pq_bytes = FittingPqSize(options.index.pq_bytes, change.dimension);
    options.quota = {};  // the source's holds; the target gets it with the name
    return StageCreate(group, std::move(options), of);
  });
  if (!begun.ok()) return begun.status();
  if (target == nullptr) {
    auto made = FindBeside(source->options().name, CollectionRecord::BUILDING);
    if (!made) return NoSuchCollection(name);  // deleted meanwhile
    target = made->collection;
  }
  return std::make_unique<EmbeddedReembedding>(this, std::move(source), std::move(target));
}

absl::Status Catalog::AbandonReembed(const std::string& name) {
  return Run([&](WriteGroup* group) -> absl::StatusOr<uint64_t> {
           auto target = FindBeside(name, CollectionRecord::BUILDING);
           return target ? StageDelete(group, target->collection) : 0;
         })
      .status();
}

absl::StatusOr<uint64_t> Catalog::StageSwitch(WriteGroup* group, const CollectionPtr& now,
                                              const CollectionPtr& next) {
  const CollectionOptions served = now->options();
  const uint32_t now_id = now->state()->id, next_id = next->state()->id;
  CollectionOptions serving = next->options();
  serving.name = served.name;
  serving.quota = served.quota;
  serving.index = served.index;
  serving.index.pq_bytes = next->options().index.pq_bytes;  // fits its dimension
  serving.keep_originals = served.keep_originals;
  CollectionOptions kept = served;
  kept.name = absl::StrCat(served.name, "~", now_id);

  auto old_record = ReadCollectionRecord(*engine_->store, now_id);
  if (!old_record.ok()) return old_record.status();
  auto new_record = ReadCollectionRecord(*engine_->store, next_id);
  if (!new_record.ok()) return new_record.status();
  CollectionRecord serving_record = RecordOf(next_id, serving);
  serving_record.set_created_version(new_record->created_version());
  serving_record.set_replaces(now_id);
  CollectionRecord kept_record = RecordOf(now_id, kept);
  kept_record.set_created_version(old_record->created_version());
  kept_record.set_role(CollectionRecord::KEPT);
  kept_record.set_of(served.name);
  auto fill = [&](rocksdb::WriteBatch* batch, uint64_t version) {
    kept_record.set_switched_version(version);
    rocksdb::ColumnFamilyHandle* meta = engine_->store->handle(Family::kDefault);
    batch->Put(meta, TaggedKey(kCollectionTag, next_id), serving_record.SerializeAsString());
    batch->Put(meta, TaggedKey(kCollectionTag, now_id), kept_record.SerializeAsString());
  };
  const uint64_t version = group->next_version();
  CrashPoint("switch.before_commit");
  return group->StageRecord(CatalogChange(next_id), fill, [=, this] {
    CrashPoint("switch.committed");
    now->state()->frozen.store(true);
    next->state()->frozen.store(false);
    next->state()->replaces.store(now_id);
    now->state()->SetCurrent(kept);
    next->state()->SetCurrent(serving);
    {
      MutexLock lock(&mutex_);
      collections_[serving.name] = next;
      beside_.erase(next_id);
      beside_[now_id] = {now, serving.name, CollectionRecord::KEPT, version};
    }
    now->state()->HoldWrites(absl::InfinitePast());
  });
}

absl::StatusOr<uint64_t> Catalog::CutOver(const CollectionPtr& source,
                                          const CollectionPtr& target) {
  return Run([&](WriteGroup* group) -> absl::StatusOr<uint64_t> {
    const std::string name = source->options().name;
    if (FindByName(name) != source) return NoSuchCollection(name);
    auto beside = FindBeside(name, CollectionRecord::BUILDING);
    if (!beside || beside->collection != target) {
      return Precondition("REEMBED_CANCELLED", "the re-embedding was cancelled");
    }
    // Nothing else is in this group, and what earlier groups wrote has been applied.
    if (source->state()->HasChanged()) {
      return Error(absl::StatusCode::kAborted, "SOURCE_CHANGED",
                   absl::StrCat("collection '", name, "' was written to meanwhile"));
    }
    return StageSwitch(group, source, target);
  });
}

absl::StatusOr<uint64_t> Catalog::RollBackReembed(const std::string& name, bool discard_writes) {
  return Run([&](WriteGroup* group) -> absl::StatusOr<uint64_t> {
    const CollectionPtr now = Find(name);
    if (now == nullptr) return NoSuchCollection(name);
    const std::string own_name = now->options().name;
    auto kept = FindBeside(own_name, CollectionRecord::KEPT);
    if (!kept) return NothingKept(own_name);
    if (!discard_writes && now->state()->view()->version > kept->switched_version) {
      return Precondition("WRITTEN_SINCE",
                          absl::StrCat("collection '", own_name, "' was written to after version ",
                                       kept->switched_version, ", when its model changed; the ",
                                       "vectors of before don't have that"));
    }
    return StageSwitch(group, now, kept->collection);
  });
}

absl::StatusOr<uint64_t> Catalog::FinishReembed(const std::string& name) {
  return Run([&](WriteGroup* group) -> absl::StatusOr<uint64_t> {
    const CollectionPtr now = Find(name);
    if (now == nullptr) return NoSuchCollection(name);
    auto kept = FindBeside(now->options().name, CollectionRecord::KEPT);
    if (!kept) return NothingKept(now->options().name);
    return StageDelete(group, kept->collection);
  });
}

}  // namespace imagesearch::index
