#include "index/store/merge_policy.h"

#include <algorithm>

namespace imagesearch::index {
namespace {

// Idle work starts at this many rows outside the largest segment, or this share of it.
constexpr uint64_t kIdleRows = 256;
constexpr double kIdleShare = 0.05;
// While writing, a merge takes at most this many tails, or this share of the collection: the tail
// grows for as long as a merge runs, and is scanned by every search.
constexpr uint64_t kMergedTails = 8;
constexpr uint64_t kMergedShare = 8;  // one eighth
// A segment with this share of dead rows is built anew.
constexpr double kDeadShare = 0.3;

}  // namespace

IndexKind KindFor(const MergePolicy& policy, uint64_t rows) {
  return rows < policy.min_indexed_rows ? IndexKind::kFlat : policy.wanted;
}

std::optional<MergePlan> PlanMerge(const MergePolicy& policy, MergeOccasion occasion,
                                   const std::vector<PartSize>& segments, const PartSize& tail) {
  const size_t n = segments.size();
  if (occasion == MergeOccasion::kForced) {
    const bool good =
        tail.rows == 0 && (n == 0 || (n == 1 && segments[0].live == segments[0].rows &&
                                      segments[0].requested == KindFor(policy, segments[0].live)));
    if (good) return std::nullopt;
    return MergePlan{0, n, true};
  }
  const uint64_t enough = occasion == MergeOccasion::kInterval
                              ? std::min(policy.merge_tail_rows, kIdleRows)
                              : policy.merge_tail_rows;
  if (tail.rows >= enough) {
    MergePlan plan{n, n, true};
    uint64_t total = tail.rows;
    for (const PartSize& part : segments) total += part.live;
    const uint64_t most = std::max(kMergedTails * policy.merge_tail_rows, total / kMergedShare);
    uint64_t merged = tail.rows;
    while (plan.first_segment > 0) {
      const uint64_t next = segments[plan.first_segment - 1].live;
      if (next > 2 * merged || merged + next > most) break;
      merged += next;
      --plan.first_segment;
    }
    return plan;
  }
  for (size_t i = 0; i < n; ++i) {
    const PartSize& part = segments[i];
    const bool dying = static_cast<double>(part.rows - part.live) > kDeadShare * part.rows;
    if (dying || part.requested != KindFor(policy, part.live)) return MergePlan{i, i + 1, false};
  }
  if (occasion == MergeOccasion::kIdle) {
    uint64_t total = tail.live, largest = 0;
    for (const PartSize& part : segments) {
      total += part.live;
      largest = std::max(largest, part.live);
    }
    const uint64_t outside = total - largest;
    const bool worth = outside >= kIdleRows &&
                       static_cast<double>(outside) >= kIdleShare * static_cast<double>(largest);
    if (worth && (n > 1 || tail.rows > 0)) return MergePlan{0, n, true};
  }
  return std::nullopt;
}

}  // namespace imagesearch::index
