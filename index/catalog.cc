// Names live in memory under one mutex; what changes them is decided inside the group commit, where
// changes come one after another.
#include "index/catalog.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/check_collection.h"
#include "index/store/crash_point.h"
#include "index/store/keys.h"
#include "index/store/recovery.h"

namespace imagesearch::index {
namespace {

constexpr size_t kMaxAliases = 1000;

absl::Status NameTaken(absl::string_view what, const std::string& name) {
  return Error(absl::StatusCode::kAlreadyExists, "ALREADY_EXISTS",
               absl::StrCat(what, " '", name, "' exists"));
}

}  // namespace

absl::Status NoSuchCollection(const std::string& name) {
  return Error(absl::StatusCode::kNotFound, "NO_SUCH_COLLECTION",
               absl::StrCat("no collection '", name, "'"));
}

records::Change CatalogChange(uint32_t collection) {
  records::Change change;
  change.set_kind(records::Change::CATALOG);
  change.set_collection(collection);
  return change;
}

absl::Status Catalog::Load() { return LoadRecords(/*fill_known=*/true); }

absl::Status Catalog::Refresh() { return LoadRecords(/*fill_known=*/false); }

absl::Status Catalog::LoadRecords(bool fill_known) {
  auto records = ReadCollectionRecords(*engine_->store);
  if (!records.ok()) return records.status();
  auto aliases = ReadAliases(*engine_->store);
  if (!aliases.ok()) return aliases.status();
  std::map<uint32_t, CollectionPtr> known;
  for (CollectionPtr& collection : All()) known[collection->state()->id] = std::move(collection);
  std::map<std::string, CollectionPtr> loaded;
  std::map<uint32_t, Beside> beside;
  for (const records::CollectionRecord& record : *records) {
    CollectionPtr& collection = known[record.id()];
    const bool fresh = collection == nullptr;
    if (fresh) {
      collection = std::make_shared<EmbeddedCollection>(
          engine_, std::make_shared<CollectionState>(record.id(), OptionsOf(record)));
    }
    collection->state()->SetCurrent(OptionsOf(record));
    if (fresh || fill_known) {
      if (engine_->options.on_progress) {
        engine_->options.on_progress(absl::StrCat("loading collection '", record.name(), "'"));
      }
      absl::Status status = LoadCollection(engine_.get(), collection->state().get());
      if (!status.ok()) {
        collection->state()->Clear();
        return status;
      }
    }
    collection->state()->frozen.store(record.role() == records::CollectionRecord::KEPT);
    collection->state()->replaces.store(record.replaces());
    if (record.role() == records::CollectionRecord::SERVING) {
      loaded[record.name()] = std::move(collection);
    } else {
      beside[record.id()] = {std::move(collection), record.of(), record.role(),
                             record.switched_version()};
    }
    known.erase(record.id());
  }
  // Deleted; in a writer by a write that failed, as it seemed, and reached the log after all.
  for (const auto& [id, collection] : known) collection->state()->Retire();
  MutexLock lock(&mutex_);
  collections_ = std::move(loaded);
  beside_ = std::move(beside);
  aliases_ = *std::move(aliases);
  return absl::OkStatus();
}

void Catalog::Unload() {
  for (const CollectionPtr& collection : All()) collection->state()->Clear();
}

Catalog::CollectionPtr Catalog::FindLocked(const std::string& name) const {
  auto alias = aliases_.find(name);
  auto found = collections_.find(alias == aliases_.end() ? name : alias->second);
  return found == collections_.end() ? nullptr : found->second;
}

Catalog::CollectionPtr Catalog::Find(const std::string& name) const {
  MutexLock lock(&mutex_);
  return FindLocked(name);
}

Catalog::CollectionPtr Catalog::FindByName(const std::string& name) const {
  MutexLock lock(&mutex_);
  auto found = collections_.find(name);
  return found == collections_.end() ? nullptr : found->second;
}

bool Catalog::IsAlias(const std::string& name) const {
  MutexLock lock(&mutex_);
  return aliases_.contains(name);
}

std::vector<Catalog::CollectionPtr> Catalog::Serving() const {
  MutexLock lock(&mutex_);
  std::vector<CollectionPtr> all;
  for (const auto& [name, collection] : collections_) all.push_back(collection);
  return all;
}

std::vector<Catalog::CollectionPtr> Catalog::All() const {
  std::vector<CollectionPtr> all = Serving();
  MutexLock lock(&mutex_);
  for (const auto& [number, other] : beside_) all.push_back(other.collection);
  return all;
}

std::vector<Alias> Catalog::Aliases() const {
  MutexLock lock(&mutex_);
  std::vector<Alias> all;
  for (const auto& [alias, collection] : aliases_) all.push_back({alias, collection});
  return all;
}

std::vector<uint32_t> Catalog::TakeRetired() {
  MutexLock lock(&mutex_);
  return std::exchange(retired_, {});
}

absl::StatusOr<uint64_t> Catalog::Run(
    const std::function<absl::StatusOr<uint64_t>(WriteGroup* group)>& stage) {
  Gate::Pass pass(&engine_->gate);
  if (!pass.status().ok()) return pass.status();
  uint64_t version = 0;
  absl::Status status = engine_->commit.Run(
      [&](WriteGroup* group) -> absl::Status {
        absl::StatusOr<uint64_t> staged = stage(group);
        if (!staged.ok()) return staged.status();
        version = *staged;
        return absl::OkStatus();
      },
      /*exclusive=*/true);
  if (!status.ok()) return status;
  return version;
}

absl::StatusOr<uint64_t> Catalog::StageCreate(WriteGroup* group, CollectionOptions options,
                                              const std::string& beside_of) {
  std::string value;
  absl::Status read = engine_->store->Get(Family::kDefault, kNextCollectionKey, nullptr, &value);
  if (!read.ok() && !absl::IsNotFound(read)) return read;
  const uint32_t id = read.ok() ? ReadBigEndian<uint32_t>(value) : 1;
  if (!beside_of.empty()) options.name = absl::StrCat(beside_of, "~", id);
  records::Change change;
  change.set_kind(records::Change::CREATE_COLLECTION);
  change.set_collection(id);
  auto fill = [&](rocksdb::WriteBatch* batch, uint64_t at) {
    rocksdb::ColumnFamilyHandle* meta = engine_->store->handle(Family::kDefault);
    records::CollectionRecord record = RecordOf(id, options);
    record.set_created_version(at);
    if (!beside_of.empty()) {
      record.set_role(records::CollectionRecord::BUILDING);
      record.set_of(beside_of);
    }
    batch->Put(meta, TaggedKey(kCollectionTag, id), record.SerializeAsString());
    records::CollectionCounters counters;
    counters.set_version(at);
    batch->Put(meta, TaggedKey(kCountersTag, id), counters.SerializeAsString());
    batch->Put(meta, kNextCollectionKey, CollectionPrefix(id + 1));
  };
  auto state = std::make_shared<CollectionState>(id, options);
  const uint64_t version = group->next_version();
  group->StageRecord(change, fill, [this, state, version, beside_of] {
    CrashPoint("collection.created");
    state->FinishLoad(version, engine_->store->Snapshot());
    auto collection = std::make_shared<EmbeddedCollection>(engine_, state);
    MutexLock lock(&mutex_);
    if (beside_of.empty()) {
      collections_[state->options.name] = std::move(collection);
    } else {
      beside_[state->id] = {std::move(collection), beside_of, records::CollectionRecord::BUILDING,
                            0};
    }
  });
  return version;
}

absl::StatusOr<uint64_t> Catalog::Create(const CollectionOptions& options) {
  absl::Status valid = CheckCollection(options, engine_->options.limits);
  if (!valid.ok()) return valid;
  return Run([&](WriteGroup* group) -> absl::StatusOr<uint64_t> {
    if (IsAlias(options.name)) return NameTaken("alias", options.name);
    if (FindByName(options.name) != nullptr) return NameTaken("collection", options.name);
    return StageCreate(group, options, "");
  });
}

uint64_t Catalog::StageDelete(WriteGroup* group, const CollectionPtr& collection) {
  const uint32_t id = collection->state()->id;
  records::Change change;
  change.set_kind(records::Change::DELETE_COLLECTION);
  change.set_collection(id);
  auto fill = [&](rocksdb::WriteBatch* batch, uint64_t) {
    rocksdb::ColumnFamilyHandle* meta = engine_->store->handle(Family::kDefault);
    batch->Delete(meta, TaggedKey(kCollectionTag, id));
    batch->Delete(meta, TaggedKey(kCountersTag, id));
    for (Family family : {Family::kItems, Family::kVectors, Family::kOriginals, Family::kFields}) {
      batch->DeleteRange(engine_->store->handle(family), CollectionPrefix(id),
                         CollectionPrefix(id + 1));
    }
  };
  return group->StageRecord(change, fill, [this, collection, id] {
    CrashPoint("collection.deleted");
    const std::string name = collection->options().name;
    collection->state()->Retire();
    collection->state()->HoldWrites(absl::InfinitePast());
    MutexLock lock(&mutex_);
    auto served = collections_.find(name);
    if (served != collections_.end() && served->second == collection) collections_.erase(served);
    beside_.erase(id);
    retired_.push_back(id);
  });
}

absl::StatusOr<uint64_t> Catalog::Delete(const std::string& name) {
  return Run([&](WriteGroup* group) -> absl::StatusOr<uint64_t> {
    // Through an alias too, so that the refusal below says what is behind it.
    const CollectionPtr collection = Find(name);
    if (collection == nullptr) return NoSuchCollection(name);
    const std::string own_name = collection->options().name;
    for (const Alias& alias : Aliases()) {
      if (alias.collection != own_name) continue;
      return Error(absl::StatusCode::kFailedPrecondition, "HAS_ALIAS",
                   absl::StrCat("alias '", alias.name, "' stands for collection '", own_name,
                                "': delete or switch its aliases first"));
    }
    for (const Beside& other : AllBeside(own_name)) StageDelete(group, other.collection);
    return StageDelete(group, collection);
  });
}

absl::StatusOr<uint64_t> Catalog::Update(const std::string& name, const CollectionUpdate& update) {
  if (update.target_recall) {
    absl::Status status = CheckRange("target_recall", *update.target_recall, 1e-6, 1);
    if (!status.ok()) return status;
  }
  return Run([&](WriteGroup* group) -> absl::StatusOr<uint64_t> {
    const CollectionPtr collection = Find(name);
    if (collection == nullptr) return NoSuchCollection(name);
    const uint32_t id = collection->state()->id;
    CollectionOptions options = collection->options();
    if (update.quota) options.quota = *update.quota;
    if (update.keep_originals) options.keep_originals = *update.keep_originals;
    if (update.target_recall) options.index.target_recall = *update.target_recall;
    auto record = ReadCollectionRecord(*engine_->store, id);
    if (!record.ok()) return record.status();
    records::CollectionRecord changed = RecordOf(id, options);
    changed.set_created_version(record->created_version());
    changed.set_replaces(record->replaces());
    auto fill = [&](rocksdb::WriteBatch* batch, uint64_t) {
      batch->Put(engine_->store->handle(Family::kDefault), TaggedKey(kCollectionTag, id),
                 changed.SerializeAsString());
    };
    return group->StageRecord(CatalogChange(id), fill,
                              [collection, options] { collection->state()->SetCurrent(options); });
  });
}

absl::StatusOr<uint64_t> Catalog::SetAlias(const std::string& alias,
                                           const std::string& collection) {
  absl::Status valid = CheckName(alias, "an alias");
  if (!valid.ok()) return valid;
  return Run([&](WriteGroup* group) -> absl::StatusOr<uint64_t> {
    if (FindByName(alias) != nullptr) return NameTaken("collection", alias);
    // An alias of an alias becomes one of the collection behind it, as it stands now.
    const CollectionPtr found = Find(collection);
    if (found == nullptr) return NoSuchCollection(collection);
    if (!IsAlias(alias) && Aliases().size() >= kMaxAliases) {
      return Error(absl::StatusCode::kResourceExhausted, "TOO_MANY_ALIASES",
                   absl::StrCat("there are ", kMaxAliases, " aliases, and no more are allowed"));
    }
    const std::string name = found->options().name;
    auto fill = [&](rocksdb::WriteBatch* batch, uint64_t) {
      batch->Put(engine_->store->handle(Family::kDefault), kAliasPrefix + alias, name);
    };
    CrashPoint("alias.before_commit");
    return group->StageRecord(CatalogChange(found->state()->id), fill, [this, alias, name] {
      CrashPoint("alias.committed");
      MutexLock lock(&mutex_);
      aliases_[alias] = name;
    });
  });
}

absl::StatusOr<uint64_t> Catalog::DeleteAlias(const std::string& alias) {
  return Run([&](WriteGroup* group) -> absl::StatusOr<uint64_t> {
    if (!IsAlias(alias)) {
      return Error(absl::StatusCode::kNotFound, "NO_SUCH_ALIAS",
                   absl::StrCat("no alias '", alias, "'"));
    }
    const CollectionPtr found = Find(alias);
    auto fill = [&](rocksdb::WriteBatch* batch, uint64_t) {
      batch->Delete(engine_->store->handle(Family::kDefault), kAliasPrefix + alias);
    };
    const uint32_t id = found == nullptr ? 0 : found->state()->id;
    return group->StageRecord(CatalogChange(id), fill, [this, alias] {
      MutexLock lock(&mutex_);
      aliases_.erase(alias);
    });
  });
}

}  // namespace imagesearch::index
