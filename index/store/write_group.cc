#include "index/store/write_group.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/store/keys.h"
#include "index/store/vector_value.h"

namespace imagesearch::index {
namespace {

void NoteOldIdentity(const records::Item& old, records::ItemChange* change) {
  change->set_old_content_hash(old.content_hash());
  if (old.has_perceptual_hash()) change->set_old_perceptual_hash(old.perceptual_hash());
}

}  // namespace

absl::StatusOr<std::optional<records::Item>> WriteGroup::Find(const CollectionState& collection,
                                                              const std::string& id) const {
  auto touched = touched_.find(collection.id);
  if (touched != touched_.end()) {
    auto staged = touched->second->items.find(id);
    if (staged != touched->second->items.end()) return staged->second;
  }
  std::string value;
  absl::Status status =
      store_->Get(Family::kItems, ItemKey(collection.id, id), /*snapshot=*/nullptr, &value);
  if (absl::IsNotFound(status)) return std::nullopt;
  if (!status.ok()) return status;
  records::Item item;
  if (!item.ParseFromString(value)) {
    return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                 absl::StrCat("the record of image '", id, "' is unreadable"));
  }
  return item;
}

absl::Status WriteGroup::Begin(const std::shared_ptr<CollectionState>& collection,
                               uint64_t max_puts) {
  if (collection->frozen.load()) {
    return WithRetryAfter(
        Error(absl::StatusCode::kUnavailable, "MOVED",
              "the collection has just moved to another model and nothing was written: send the "
              "write again"),
        absl::Milliseconds(50));
  }
  std::unique_ptr<Touched>& touched = touched_[collection->id];
  if (touched == nullptr) {
    auto fresh = std::make_unique<Touched>();
    fresh->state = collection;
    std::string value;
    absl::Status status = store_->Get(Family::kDefault, TaggedKey(kCountersTag, collection->id),
                                      /*snapshot=*/nullptr, &value);
    if (!status.ok() || !fresh->counters.ParseFromString(value)) {
      touched_.erase(collection->id);
      if (!status.ok() && !absl::IsNotFound(status)) return status;
      return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                   absl::StrCat("collection ", collection->id, " has no readable counters"));
    }
    touched = std::move(fresh);
  }
  if (touched->counters.next_slot() + max_puts > std::numeric_limits<uint32_t>::max()) {
    return Error(absl::StatusCode::kResourceExhausted, "SLOTS",
                 absl::StrCat("collection '", collection->options.name, "' has taken ",
                              touched->counters.next_slot(),
                              " vectors in its life, and 4294967295 is the limit; move its images ",
                              "to a new collection"));
  }
  current_ = touched.get();
  change_.Clear();
  change_.set_collection(collection->id);
  return absl::OkStatus();
}

void WriteGroup::Write(const std::string& id, const records::Item& item) {
  const std::string value = item.SerializeAsString();
  batch_.Put(store_->handle(Family::kItems), ItemKey(current_->state->id, id), value);
  current_->items[id] = item;
}

absl::Span<const MemoryChange> WriteGroup::Changes(const CollectionState& collection) const {
  auto touched = touched_.find(collection.id);
  if (touched == touched_.end()) return {};
  return touched->second->changes;
}

void WriteGroup::DropOriginal(const std::string& id, const records::Item& old) {
  if (old.original_bytes() == 0) return;
  batch_.Delete(store_->handle(Family::kOriginals), ItemKey(current_->state->id, id));
  current_->counters.set_original_bytes(
      current_->counters.original_bytes() -
      std::min<uint64_t>(old.original_bytes(), current_->counters.original_bytes()));
}

void WriteGroup::Put(const std::string& id, const std::optional<records::Item>& old,
                     records::Item item, std::vector<float> vector, absl::string_view original) {
  const uint32_t collection = current_->state->id;
  const auto slot = static_cast<uint32_t>(current_->counters.next_slot());
  current_->counters.set_next_slot(slot + uint64_t{1});
  item.set_slot(slot);
  item.set_version(next_version_);
  item.set_original_bytes(original.size());
  if (old) DropOriginal(id, *old);
  if (!original.empty()) {
    batch_.Put(store_->handle(Family::kOriginals), ItemKey(collection, id),
               rocksdb::Slice(original.data(), original.size()));
    current_->counters.set_original_bytes(current_->counters.original_bytes() + original.size());
  }
  MemoryChange memory;
  memory.id = id;
  memory.added_slot = slot;
  memory.identity = StoredIdentity::Of(item);
  memory.metadata = item.metadata();
  memory.expire_micros = item.expire_unix_micros();
  memory.stored_bytes = BytesOf(id, item);
  records::ItemChange* change = change_.add_items();
  change->set_id(id);
  change->set_added_slot(slot);
  if (old) {
    memory.stored_bytes -= BytesOf(id, *old);
    memory.removed_slot = old->slot();
    memory.old_identity = StoredIdentity::Of(*old);
    memory.old_metadata = old->metadata();
    change->set_removed_slot(old->slot());
    NoteOldIdentity(*old, change);
    *change->mutable_old_metadata() = old->metadata();
    batch_.Delete(store_->handle(Family::kVectors), VectorKey(collection, old->slot()));
  }
  batch_.Put(store_->handle(Family::kVectors), VectorKey(collection, slot),
             EncodeVectorValue(id, vector));
  change->set_stored_bytes(memory.stored_bytes);
  memory.vector = std::move(vector);
  current_->changes.push_back(std::move(memory));
  Write(id, item);
}

void WriteGroup::Update(const std::string& id, const records::Item& old, records::Item item) {
  item.set_slot(old.slot());
  item.set_version(next_version_);
  MemoryChange memory;
  memory.id = id;
  memory.updated_slot = old.slot();
  memory.old_metadata = old.metadata();
  memory.metadata = item.metadata();
  memory.expire_micros = item.expire_unix_micros();
  memory.stored_bytes = BytesOf(id, item) - BytesOf(id, old);
  records::ItemChange* change = change_.add_items();
  change->set_stored_bytes(memory.stored_bytes);
  current_->changes.push_back(std::move(memory));
  change->set_id(id);
  change->set_updated_slot(old.slot());
  *change->mutable_old_metadata() = old.metadata();
  Write(id, item);
}

void WriteGroup::Remove(const std::string& id, const records::Item& old) {
  const uint32_t collection = current_->state->id;
  DropOriginal(id, old);
  batch_.Delete(store_->handle(Family::kItems), ItemKey(collection, id));
  batch_.Delete(store_->handle(Family::kVectors), VectorKey(collection, old.slot()));
  current_->items[id] = std::nullopt;
  MemoryChange memory;
  memory.id = id;
  memory.removed_slot = old.slot();
  memory.old_identity = StoredIdentity::Of(old);
  memory.old_metadata = old.metadata();
  memory.stored_bytes = -BytesOf(id, old);
  records::ItemChange* change = change_.add_items();
  change->set_stored_bytes(memory.stored_bytes);
  current_->changes.push_back(std::move(memory));
  change->set_id(id);
  change->set_removed_slot(old.slot());
  NoteOldIdentity(old, change);
  *change->mutable_old_metadata() = old.metadata();
}

int64_t WriteGroup::BytesOf(const std::string& id, const records::Item& item) const {
  return static_cast<int64_t>(StoredBytes(id, item, current_->state->options.dimension));
}

WriteGroup::Growth WriteGroup::Pending(const CollectionState& collection) const {
  Growth growth;
  auto touched = touched_.find(collection.id);
  if (touched == touched_.end()) return growth;
  growth.images = touched->second->images;
  for (const MemoryChange& change : touched->second->changes) growth.bytes += change.stored_bytes;
  return growth;
}

uint64_t WriteGroup::End() {
  if (change_.items().empty()) return 0;
  batch_.Put(store_->handle(Family::kChanges), ChangeKey(next_version_),
             change_.SerializeAsString());
  current_->counters.set_version(next_version_);
  last_version_ = next_version_++;
  return last_version_;
}

uint64_t WriteGroup::StageRecord(
    const records::Change& change,
    const std::function<void(rocksdb::WriteBatch*, uint64_t version)>& fill,
    std::function<void()> after_commit) {
  fill(&batch_, next_version_);
  batch_.Put(store_->handle(Family::kChanges), ChangeKey(next_version_),
             change.SerializeAsString());
  after_commit_.push_back(std::move(after_commit));
  last_version_ = next_version_++;
  return last_version_;
}

rocksdb::WriteBatch* WriteGroup::Seal() {
  for (const auto& [collection, touched] : touched_) {
    if (touched->changes.empty()) continue;
    batch_.Put(store_->handle(Family::kDefault), TaggedKey(kCountersTag, collection),
               touched->counters.SerializeAsString());
  }
  batch_.Put(store_->handle(Family::kDefault), kVersionKey, ChangeKey(last_version_));
  return &batch_;
}

void WriteGroup::Publish(const StoreSnapshot& snapshot) {
  for (auto& [collection, touched] : touched_) {
    if (touched->changes.empty()) continue;
    touched->state->original_bytes.store(touched->counters.original_bytes());
    touched->state->Apply(std::move(touched->changes), touched->counters.version(), snapshot);
  }
  for (const std::function<void()>& done : after_commit_) done();
}

}  // namespace imagesearch::index
