// How much room a collection's quota leaves, as the items of an op take theirs.
#ifndef IMAGESEARCH_INDEX_QUOTA_ROOM_H_
#define IMAGESEARCH_INDEX_QUOTA_ROOM_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/error.h"
#include "index/collection.h"
#include "index/store/collection_state.h"
#include "index/store/write_group.h"

namespace imagesearch::index {

// For one op of a write group; `options` must outlive it.
class QuotaRoom {
 public:
  QuotaRoom(const CollectionOptions& options, const CollectionState& state,
            const WriteGroup::Growth& pending)
      : options_(options),
        images_(static_cast<int64_t>(state.view()->live) + pending.images),
        bytes_(state.stored_bytes.load() + pending.bytes) {}

  // Takes the room for one item, or RESOURCE_EXHAUSTED QUOTA. What makes a collection no larger is
  // never refused.
  absl::Status Take(int64_t images, int64_t bytes) {
    const Quota& quota = options_.quota;
    if (quota.max_images > 0 && images > 0 &&
        images_ + images > static_cast<int64_t>(quota.max_images)) {
      return Refusal(absl::StrCat(images_, " images and may hold ", quota.max_images));
    }
    if (quota.max_bytes > 0 && bytes > 0 &&
        bytes_ + bytes > static_cast<int64_t>(quota.max_bytes)) {
      return Refusal(absl::StrCat(bytes_, " bytes and may hold ", quota.max_bytes,
                                  "; this image takes ", bytes, " more"));
    }
    images_ += images;
    bytes_ += bytes;
    return absl::OkStatus();
  }

 private:
  absl::Status Refusal(absl::string_view what) const {
    return Error(absl::StatusCode::kResourceExhausted, "QUOTA",
                 absl::StrCat("collection '", options_.name, "' holds ", what,
                              ". Delete images, or raise its quota"));
  }

  const CollectionOptions& options_;
  int64_t images_;
  int64_t bytes_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_QUOTA_ROOM_H_
