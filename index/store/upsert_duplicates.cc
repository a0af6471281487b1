#include "index/store/upsert_duplicates.h"

#include <algorithm>

#include "absl/container/flat_hash_map.h"
#include "index/store/dot.h"

namespace imagesearch::index {
namespace {

constexpr size_t kMaxReported = 10;
// Candidates whose records are read for one upload: more are told apart by nothing that helps.
constexpr size_t kMaxCandidates = 200;

}  // namespace

UpsertDuplicates::UpsertDuplicates(const CollectionState& state, const WriteGroup& group,
                                   const UpsertOptions& upsert)
    : state_(state), group_(group), tier_(upsert.tier), view_(state.view()) {
  absl::flat_hash_map<uint32_t, const MemoryChange*> added;
  for (const MemoryChange& change : group.Changes(state)) {
    if (change.removed_slot) {
      replaced_.insert(*change.removed_slot);
      added.erase(*change.removed_slot);
    }
    if (change.added_slot) added[*change.added_slot] = &change;
  }
  for (const auto& [slot, change] : added) pending_.push_back(change);
}

float UpsertDuplicates::Cosine(const float* a, const float* b) const {
  return std::clamp(Dot(a, b, state_.options.dimension), -1.0f, 1.0f);
}

void UpsertDuplicates::Consider(const std::string& id, const ImageIdentity& other,
                                const float* other_vector, const ImageIdentity& identity,
                                const std::vector<float>& vector,
                                std::vector<DuplicateRef>* found) const {
  const float cosine = Cosine(other_vector, vector.data());
  const DuplicateTier tier = TierOf(other, identity, cosine, tier_);
  if (tier != DuplicateTier::kNone) found->push_back({id, tier, cosine});
}

absl::StatusOr<std::vector<DuplicateRef>> UpsertDuplicates::Judge(
    const std::string& id, const ImageIdentity& identity, const std::vector<float>& vector,
    const std::vector<DuplicateRef>& look_alikes) {
  std::vector<DuplicateRef> found;
  const auto consider_stored = [&](const std::string& other_id, uint32_t slot) -> absl::Status {
    if (other_id == id || replaced_.contains(slot)) return absl::OkStatus();
    const std::optional<RowRef> row = view_->Find(slot);
    if (!row || !row->alive) return absl::OkStatus();
    auto item = group_.Find(state_, other_id);
    if (!item.ok()) return item.status();
    if (!item->has_value() || (*item)->slot() != slot) return absl::OkStatus();
    const StoredIdentity stored = StoredIdentity::Of(**item);
    Consider(other_id, stored.view(), row->vector, identity, vector, &found);
    return absl::OkStatus();
  };
  for (const uint32_t slot : state_.duplicates.Find(identity, tier_, kMaxCandidates)) {
    const std::optional<RowRef> row = view_->Find(slot);
    if (!row) continue;
    absl::Status status = consider_stored(std::string(row->id), slot);
    if (!status.ok()) return status;
  }
  for (const DuplicateRef& look_alike : look_alikes) {
    const bool known = std::any_of(found.begin(), found.end(), [&](const DuplicateRef& other) {
      return other.id == look_alike.id;
    });
    if (known || look_alike.id == id) continue;
    auto item = group_.Find(state_, look_alike.id);
    if (!item.ok()) return item.status();
    if (!item->has_value()) continue;
    absl::Status status = consider_stored(look_alike.id, (*item)->slot());
    if (!status.ok()) return status;
  }
  for (const MemoryChange* change : pending_) {
    if (change->id == id) continue;
    Consider(change->id, change->identity.view(), change->vector.data(), identity, vector, &found);
  }
  for (const Accepted& earlier : accepted_) {
    Consider(*earlier.id, earlier.identity, earlier.vector->data(), identity, vector, &found);
  }
  std::sort(found.begin(), found.end(), [](const DuplicateRef& a, const DuplicateRef& b) {
    if (a.tier != b.tier) return a.tier < b.tier;
    if (a.score != b.score) return a.score > b.score;
    return a.id < b.id;
  });
  if (found.size() > kMaxReported) found.resize(kMaxReported);
  return found;
}

void UpsertDuplicates::Accept(const std::string& id, const ImageIdentity& identity,
                              const std::vector<float>* vector) {
  accepted_.push_back({&id, identity, vector});
}

}  // namespace imagesearch::index
