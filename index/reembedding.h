// Moving a collection to another model while it serves: a second collection is filled beside it,
// then takes its name at once; the first one is kept until it is dropped.
#ifndef IMAGESEARCH_INDEX_REEMBEDDING_H_
#define IMAGESEARCH_INDEX_REEMBEDDING_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "index/collection.h"

namespace imagesearch::index {

// What the vectors will be of.
struct ModelChange {
  int dimension = 0;
  std::string model_id;
  std::string model_fingerprint;
};

// A collection beside the one that serves under `collection`: one that is being filled, or the one
// that served before.
struct ReembedInfo {
  std::string collection;
  bool is_building = false;
  std::string model_id;
  std::string model_fingerprint;
  uint64_t image_count = 0;
};

// Thread-safe; meant for one user at a time.
class Reembedding {
 public:
  virtual ~Reembedding() = default;

  // The collection that serves.
  virtual Collection& source() = 0;
  // The one that takes its place. Items say by `source_version` which version of the source's image
  // they were made from.
  virtual Collection& target() = 0;

  // Ids written or deleted in the source since the call before, or since this object was made.
  // Nullopt: too many to remember, look at all.
  virtual std::optional<std::vector<std::string>> TakeChanged() = 0;

  // Writers to the source wait from now on; reads never do. Ends by ReleaseWrites, by CutOver, or
  // when `until` has come. Writes that had begun already may still go through.
  virtual void HoldWrites(absl::Time until) = 0;
  virtual void ReleaseWrites() = 0;

  // Gives the target the source's name, quota and settings, in one durable step: calls that look
  // the name up afterwards get the target, and those that hold the source go on reading it. A write
  // to the source from then on fails UNAVAILABLE with reason MOVED: sent again, it goes to the new
  // one. ABORTED SOURCE_CHANGED, and nothing done, while TakeChanged has something to give.
  virtual absl::StatusOr<uint64_t> CutOver() = 0;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_REEMBEDDING_H_
