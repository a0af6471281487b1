// The writing half of EmbeddedCollection: what can be refused is refused before the group commit,
// and what depends on the stored state is decided inside it, where writes come one after another.
#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/embedded_collection.h"
#include "index/quota_room.h"
#include "index/store/unit_vector.h"
#include "index/store/upsert_duplicates.h"

namespace imagesearch::index {
namespace {

int64_t ExpireMicros(absl::Time time) {
  if (time == absl::InfiniteFuture()) return 0;
  return std::max<int64_t>(absl::ToUnixMicros(time), 1);  // 0 stands for never
}

absl::Status CheckId(const std::string& id, uint32_t max_bytes) {
  if (!id.empty() && id.size() <= max_bytes) return absl::OkStatus();
  return InvalidArgument(
      "BAD_ID", absl::StrCat("the id has ", id.size(), " bytes; 1 to ", max_bytes, " are allowed"));
}

// What the group commit does for one item; the result goes into `result`.
struct StagedItem {
  std::string id;
  bool has_vector = false;
  bool has_metadata = false;
  std::vector<float> vector;
  std::string original;
  records::Item item;
  std::vector<DuplicateRef> look_alikes;
  UpsertItemResult result;
};

// Whether the item may be written over `old`, which is null where there is no live image.
absl::Status Decide(const StagedItem& item, const records::Item* old, bool create_only) {
  if (old != nullptr && create_only) {
    return Error(absl::StatusCode::kAlreadyExists, "ALREADY_EXISTS",
                 absl::StrCat("image '", item.id, "' exists and create_only is set"));
  }
  if (old == nullptr && !item.has_vector) {
    return Error(absl::StatusCode::kNotFound, "NOT_FOUND",
                 absl::StrCat("image '", item.id,
                              "' does not exist; without content only an existing one's metadata ",
                              "can be updated"));
  }
  return absl::OkStatus();
}

// What an update of metadata and expiry leaves as it was.
void KeepContent(const records::Item& stored, StagedItem* item) {
  item->item.set_content_hash(stored.content_hash());
  item->item.set_original_bytes(stored.original_bytes());
  if (stored.has_perceptual_hash()) item->item.set_perceptual_hash(stored.perceptual_hash());
  if (item->item.source_uri().empty()) item->item.set_source_uri(stored.source_uri());
  if (!item->has_metadata) *item->item.mutable_metadata() = stored.metadata();
}

}  // namespace

absl::StatusOr<UpsertResult> EmbeddedCollection::Upsert(std::vector<UpsertItem> items,
                                                        const UpsertOptions& upsert) {
  state_->AwaitWrites();
  Gate::Pass pass(&engine_->gate);
  if (!pass.status().ok()) return pass.status();
  const uint64_t memory_limit = engine_->options.max_memory_bytes;
  const bool grows = std::any_of(items.begin(), items.end(),
                                 [](const UpsertItem& item) { return item.vector.has_value(); });
  if (memory_limit > 0 && grows && engine_->memory_bytes.load() > memory_limit) {
    return Error(
        absl::StatusCode::kResourceExhausted, "QUOTA",
        absl::StrCat("the indexes take ", engine_->memory_bytes.load() >> 20, " MiB of memory; ",
                     memory_limit >> 20, " MiB are the limit. Delete images, or raise the limit"));
  }
  std::vector<std::vector<DuplicateRef>> look_alikes = FindLookAlikes(items, upsert);
  const bool keep_originals = options().keep_originals;
  // An id given twice: the last one wins, so only that one is staged.
  absl::flat_hash_map<std::string, size_t> staged_of_id;
  std::vector<size_t> staged_of_item(items.size());
  std::vector<StagedItem> staged;
  for (size_t i = 0; i < items.size(); ++i) {
    auto [at, fresh] = staged_of_id.try_emplace(items[i].id, staged.size());
    if (fresh) staged.emplace_back();
    staged_of_item[i] = at->second;
    StagedItem next;
    next.id = items[i].id;
    next.has_vector = items[i].vector.has_value();
    next.has_metadata = items[i].metadata.has_value();
    next.result.status = CheckId(next.id, engine_->options.limits.max_id_bytes);
    if (next.result.status.ok() && next.has_vector) {
      next.vector = *std::move(items[i].vector);
      next.result.status = MakeUnitVector(state_->options.dimension, &next.vector);
    }
    next.item.set_expire_unix_micros(ExpireMicros(items[i].expire_time));
    next.item.set_content_hash(std::move(items[i].content_hash));
    next.item.set_source_uri(std::move(items[i].source_uri));
    if (items[i].perceptual_hash) next.item.set_perceptual_hash(*items[i].perceptual_hash);
    if (keep_originals) next.original = std::move(items[i].original);
    next.item.set_original_bytes(next.original.size());
    if (!look_alikes.empty()) next.look_alikes = std::move(look_alikes[i]);
    next.item.set_source_version(items[i].source_version);
    if (next.has_metadata) *next.item.mutable_metadata() = *std::move(items[i].metadata);
    staged[at->second] = std::move(next);
  }

  UpsertResult result;
  auto stage = [&](WriteGroup* group) -> absl::Status {
    absl::Status alive = CheckAlive();
    if (!alive.ok()) return alive;
    const int64_t now = engine_->NowMicros();
    state_->HideExpired(now);
    const CollectionOptions current = options();
    QuotaRoom room(current, *state_, group->Pending(*state_));
    int64_t created = 0;
    // Everything that can fail comes before the first Put.
    std::vector<std::optional<records::Item>> stored(staged.size());
    for (size_t i = 0; i < staged.size(); ++i) {
      if (!staged[i].result.status.ok()) continue;
      auto found = group->Find(*state_, staged[i].id);
      if (!found.ok()) return found.status();
      stored[i] = *std::move(found);
      const bool live = stored[i] && (stored[i]->expire_unix_micros() == 0 ||
                                      stored[i]->expire_unix_micros() > now);
      staged[i].result.created = !live;
      staged[i].result.status = Decide(staged[i], live ? &*stored[i] : nullptr, upsert.create_only);
    }
    std::optional<UpsertDuplicates> duplicates;
    if (upsert.on_duplicate != OnDuplicate::kKeep) duplicates.emplace(*state_, *group, upsert);
    for (size_t i = 0; i < staged.size(); ++i) {
      StagedItem& next = staged[i];
      if (!next.result.status.ok()) continue;
      const StoredIdentity identity = StoredIdentity::Of(next.item);
      if (duplicates && next.has_vector) {
        auto found = duplicates->Judge(next.id, identity.view(), next.vector, next.look_alikes);
        if (!found.ok()) return found.status();
        next.result.duplicates = *std::move(found);
        next.result.skipped =
            upsert.on_duplicate == OnDuplicate::kSkip && !next.result.duplicates.empty();
        if (next.result.skipped) continue;
      }
      if (!next.has_vector) KeepContent(*stored[i], &next);
      int64_t bytes = static_cast<int64_t>(StoredBytes(next.id, next.item, current.dimension));
      if (stored[i]) {
        bytes -= static_cast<int64_t>(StoredBytes(next.id, *stored[i], current.dimension));
      }
      next.result.status = room.Take(next.result.created ? 1 : 0, bytes);
      if (!next.result.status.ok()) continue;
      created += next.result.created;
      if (duplicates && next.has_vector) {
        duplicates->Accept(next.id, {next.item.content_hash(), identity.perceptual_hash},
                           &next.vector);
      }
    }
    absl::Status begun = group->Begin(state_, staged.size());
    if (!begun.ok()) return begun;
    for (size_t i = 0; i < staged.size(); ++i) {
      StagedItem& next = staged[i];
      if (!next.result.status.ok() || next.result.skipped) continue;
      if (next.has_vector) {
        group->Put(next.id, stored[i], std::move(next.item), std::move(next.vector), next.original);
        continue;
      }
      group->Update(next.id, *stored[i], std::move(next.item));
    }
    group->CountImages(created);
    result.version = group->End();
    return absl::OkStatus();
  };
  absl::Status status = engine_->commit.Run(stage);
  if (!status.ok()) return status;
  for (size_t i = 0; i < items.size(); ++i) {
    result.items.push_back(staged[staged_of_item[i]].result);
    UpsertItemResult& item = result.items.back();
    if (!item.status.ok() || item.skipped) item.created = false;
  }
  return result;
}

absl::StatusOr<DeleteResult> EmbeddedCollection::DeleteIds(absl::Span<const std::string> ids,
                                                           bool only_expired) {
  if (!only_expired) state_->AwaitWrites();
  Gate::Pass pass(&engine_->gate);
  if (!pass.status().ok()) return pass.status();
  DeleteResult result;
  auto stage = [&](WriteGroup* group) -> absl::Status {
    absl::Status alive = CheckAlive();
    if (!alive.ok()) return alive;
    const int64_t now = engine_->NowMicros();
    absl::flat_hash_map<std::string, records::Item> found;
    for (const std::string& id : ids) {
      auto item = group->Find(*state_, id);
      if (!item.ok()) return item.status();
      if (!item->has_value()) continue;
      const int64_t expires = (*item)->expire_unix_micros();
      const bool live = expires == 0 || expires > now;
      if (only_expired && live) continue;
      if (found.try_emplace(id, **std::move(item)).second && live) ++result.deleted;
    }
    absl::Status begun = group->Begin(state_, 0);
    if (!begun.ok()) return begun;
    for (const auto& [id, item] : found) group->Remove(id, item);
    group->CountImages(-static_cast<int64_t>(result.deleted));
    group->End();
    return absl::OkStatus();
  };
  absl::Status status = engine_->commit.Run(stage);
  if (!status.ok()) return status;
  result.version = engine_->commit.version();
  return result;
}

absl::StatusOr<DeleteResult> EmbeddedCollection::Delete(absl::Span<const std::string> ids) {
  return DeleteIds(ids, /*only_expired=*/false);
}

absl::StatusOr<DeleteResult> EmbeddedCollection::DeleteByFilter(const std::string& filter_text) {
  auto filter = Filter::Parse(filter_text, engine_->options.limits);
  if (!filter.ok()) return filter.status();
  state_->AwaitWrites();
  Gate::Pass pass(&engine_->gate);
  if (!pass.status().ok()) return pass.status();
  DeleteResult result;
  auto stage = [&](WriteGroup* group) -> absl::Status {
    absl::Status alive = CheckAlive();
    if (!alive.ok()) return alive;
    state_->HideExpired(engine_->NowMicros());
    // The view holds what earlier groups did; nothing else is in this one.
    const CollectionState::Reading reading = state_->Read({&*filter});
    std::vector<std::string> ids;
    ForEachLive(*reading.view, reading.allowed[0].get(),
                [&](absl::string_view id) { ids.emplace_back(id); });
    std::vector<records::Item> found;
    for (const std::string& id : ids) {
      auto item = group->Find(*state_, id);
      if (!item.ok()) return item.status();
      if (!item->has_value()) {
        return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                     absl::StrCat("image '", id, "' has a vector but no record"));
      }
      found.push_back(**std::move(item));
    }
    absl::Status begun = group->Begin(state_, 0);
    if (!begun.ok()) return begun;
    for (size_t i = 0; i < ids.size(); ++i) group->Remove(ids[i], found[i]);
    group->CountImages(-static_cast<int64_t>(ids.size()));
    group->End();
    result.deleted = ids.size();
    return absl::OkStatus();
  };
  absl::Status status = engine_->commit.Run(stage, /*exclusive=*/true);
  if (!status.ok()) return status;
  result.version = engine_->commit.version();
  return result;
}

absl::Status EmbeddedCollection::SweepExpired() {
  if (state_->frozen.load()) return absl::OkStatus();
  std::vector<std::string> ids = state_->TakeExpired();
  if (ids.empty()) return absl::OkStatus();
  absl::Status status = DeleteIds(ids, /*only_expired=*/true).status();
  if (!status.ok()) state_->ReturnExpired(std::move(ids));
  return status;
}

}  // namespace imagesearch::index
