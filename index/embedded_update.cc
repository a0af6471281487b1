// EmbeddedCollection's merge patches of metadata: what is stored is read, patched and written
// inside the group commit, so that no write in between is lost.
#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "google/protobuf/util/message_differencer.h"
#include "index/embedded_collection.h"
#include "index/quota_room.h"
#include "index/store/merge_patch.h"

namespace imagesearch::index {
namespace {

// Images of one batch of an update by filter: bounds the memory of the batch and how long other
// writers wait behind it.
constexpr size_t kBatchImages = 512;

bool Same(const google::protobuf::Struct& a, const google::protobuf::Struct& b) {
  return google::protobuf::util::MessageDifferencer::Equals(a, b);
}

}  // namespace

absl::Status EmbeddedCollection::PatchBatch(const Patches& patches, const UpdateOptions& options,
                                            UpdateResult* result) {
  const absl::Span<const std::string> ids = patches.ids;
  UpdateResult done;
  std::vector<absl::Status> items;
  auto stage = [&](WriteGroup* group) -> absl::Status {
    done = {};
    items.assign(ids.size(), absl::OkStatus());
    absl::Status alive = CheckAlive();
    if (!alive.ok()) return alive;
    const int64_t now = engine_->NowMicros();
    struct Staged {
      const std::string* id;
      records::Item old, item;
    };
    std::vector<Staged> staged;
    for (size_t i = 0; i < ids.size(); ++i) {
      auto found = group->Find(*state_, ids[i]);
      if (!found.ok()) return found.status();
      const bool live = found->has_value() && ((*found)->expire_unix_micros() == 0 ||
                                               (*found)->expire_unix_micros() > now);
      if (!live) {
        items[i] = Error(absl::StatusCode::kNotFound, "NOT_FOUND",
                         "the collection has no image of this id");
        continue;
      }
      if (patches.filter != nullptr && !patches.filter->Matches(ids[i], (*found)->metadata()))
        continue;
      ++done.matched;
      Staged next{&ids[i], **std::move(found), {}};
      next.item = next.old;
      MergePatch(patches.patch_of(i), next.item.mutable_metadata());
      if (Same(next.item.metadata(), next.old.metadata())) continue;
      absl::Status fits = options.check ? options.check(next.item.metadata()) : absl::OkStatus();
      if (!fits.ok()) {
        return Error(fits.code(), ReasonOf(fits),
                     absl::StrCat("image '", ids[i], "' with the patch: ", fits.message()));
      }
      staged.push_back(std::move(next));
    }
    const CollectionOptions current = state_->current();
    QuotaRoom room(current, *state_, group->Pending(*state_));
    for (const Staged& next : staged) {
      const auto bytes = [&](const records::Item& item) {
        return static_cast<int64_t>(StoredBytes(*next.id, item, current.dimension));
      };
      absl::Status fits = room.Take(0, bytes(next.item) - bytes(next.old));
      if (!fits.ok()) return fits;
    }
    absl::Status begun = group->Begin(state_, 0);
    if (!begun.ok()) return begun;
    for (Staged& next : staged) group->Update(*next.id, next.old, std::move(next.item));
    done.updated = staged.size();
    group->End();
    return absl::OkStatus();
  };
  absl::Status status = engine_->commit.Run(stage);
  if (!status.ok()) return status;
  result->matched += done.matched;
  result->updated += done.updated;
  result->version = engine_->commit.version();
  result->items = std::move(items);
  return absl::OkStatus();
}

absl::StatusOr<UpdateResult> EmbeddedCollection::UpdateMetadata(
    absl::Span<const std::string> ids, const google::protobuf::Struct& patch,
    const UpdateOptions& options) {
  state_->AwaitWrites();
  Gate::Pass pass(&engine_->gate);
  if (!pass.status().ok()) return pass.status();
  // An id given twice is patched once; both report its result.
  std::vector<std::string> unique(ids.begin(), ids.end());
  std::sort(unique.begin(), unique.end());
  unique.erase(std::unique(unique.begin(), unique.end()), unique.end());
  UpdateResult result;
  absl::Status status = PatchBatch({unique, [&](size_t) -> const auto& { return patch;
}
}  // namespace imagesearch::index
, options, &result);
if (!status.ok()) return status;
std::vector<absl::Status> items;
for (const std::string& id : ids) {
  const auto at = std::lower_bound(unique.begin(), unique.end(), id) - unique.begin();
  items.push_back(result.items[at]);
}
result.items = std::move(items);
return result;
}

absl::StatusOr<UpdateResult> EmbeddedCollection::PatchEach(absl::Span<const MetadataPatch> patches,
                                                           const UpdateOptions& options) {
  Gate::Pass pass(&engine_->gate);
  if (!pass.status().ok()) return pass.status();
  std::vector<std::string> ids;
  for (const MetadataPatch& patch : patches) ids.push_back(patch.id);
  UpdateResult result;
  absl::Status status = PatchBatch(
      {ids, [&](size_t i) -> const auto& { return patches[i].patch;
}
}, options, &result);
if (!status.ok()) return status;
return result;
}

absl::StatusOr<UpdateResult> EmbeddedCollection::UpdateMetadataByFilter(
    const std::string& filter_text, const google::protobuf::Struct& patch,
    const UpdateOptions& options) {
  auto filter = Filter::Parse(filter_text, engine_->options.limits);
  if (!filter.ok()) return filter.status();
  std::vector<std::string> ids;
  {
    Gate::Pass pass(&engine_->gate);
    absl::Status status = pass.status();
    if (status.ok()) status = CheckAlive();
    if (!status.ok()) return status;
    state_->HideExpired(engine_->NowMicros());
    const CollectionState::Reading reading = state_->Read({&*filter});
    ForEachLive(*reading.view, reading.allowed[0].get(),
                [&](absl::string_view id) { ids.emplace_back(id); });
  }
  UpdateResult result;
  result.version = engine_->commit.version();
  for (size_t begin = 0; begin < ids.size(); begin += kBatchImages) {
    absl::Status status = options.proceed ? options.proceed() : absl::OkStatus();
    state_->AwaitWrites();
    Gate::Pass pass(&engine_->gate);
    if (status.ok()) status = pass.status();
    // What changed since the filter was evaluated is matched again inside.
    if (status.ok()) {
      status = PatchBatch({absl::MakeConstSpan(ids).subspan(begin, kBatchImages), [&](size_t) -> const auto& { return patch;
    }
    , &*filter
  }, options, &result);
}
if (!status.ok()) {
  if (begin == 0) return status;
  return Error(status.code(), ReasonOf(status),
               absl::StrCat(status.message(), " (", result.updated,
                            " images were updated before; the same call can be sent again)"));
}
}
result.items.clear();
return result;
}

}  // namespace imagesearch::index
