// Builds segments in the background, so that searches meet few parts and a short tail.
#ifndef IMAGESEARCH_INDEX_STORE_MERGER_H_
#define IMAGESEARCH_INDEX_STORE_MERGER_H_

#include <memory>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "base/mutex.h"
#include "index/store/collection_state.h"
#include "index/store/engine.h"
#include "index/store/merge_policy.h"

namespace imagesearch::index {

// The merges of one collection, one at a time. Thread-safe; callers hold a Pass of the engine's
// gate. Searches and writes go on meanwhile.
class Merger {
 public:
  Merger(Engine* engine, std::shared_ptr<CollectionState> state);

  // Merges until the policy finds nothing more to do. CANCELLED when the engine stops.
  // `control`: progress in rows, roughly.
  absl::Status Run(MergeOccasion occasion, const JobControl& control = {});
  // Whether Run would build something; cheap.
  bool IsDue(MergeOccasion occasion) const;

 private:
  std::optional<MergePlan> Plan(MergeOccasion occasion, const View& view) const;
  absl::Status Merge(const MergePlan& plan, const View& view, int threads,
                     const JobControl& control) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  Engine* const engine_;
  const std::shared_ptr<CollectionState> state_;
  const MergePolicy policy_;
  Mutex mutex_;  // held through a merge
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_MERGER_H_
