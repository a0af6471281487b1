// EmbeddedCollection's kept uploads: column family `originals`, by collection and id.
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/embedded_collection.h"
#include "index/store/keys.h"

namespace imagesearch::index {

absl::StatusOr<std::optional<Record>> EmbeddedCollection::GetWithOriginal(const std::string& id,
                                                                          bool with_vector,
                                                                          uint64_t max_bytes) {
  Gate::Pass pass(&engine_->gate);
  absl::Status status = pass.status();
  if (status.ok()) status = CheckAlive();
  if (!status.ok()) return status;
  const std::shared_ptr<const View> view = state_->view();
  auto item = ReadItem(*view, id);
  if (!item.ok()) return item.status();
  if (!item->has_value()) return std::nullopt;
  const int64_t expires = (*item)->expire_unix_micros();
  if (expires != 0 && expires <= engine_->NowMicros()) return std::nullopt;
  Record record = MakeRecord(*view, id, std::move(**item), with_vector);
  if (record.original_bytes == 0 || record.original_bytes > max_bytes) return record;
  status = engine_->store->Get(Family::kOriginals, ItemKey(state_->id, id), view->snapshot,
                               &record.original);
  if (absl::IsNotFound(status) ||
      (status.ok() && record.original.size() != record.original_bytes)) {
    return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                 absl::StrCat("the original of image '", id, "' has ", record.original.size(),
                              " bytes; its record says ", record.original_bytes));
  }
  if (!status.ok()) return status;
  return record;
}

}  // namespace imagesearch::index
