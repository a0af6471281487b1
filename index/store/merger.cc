#include "index/store/merger.h"

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "index/store/crash_point.h"
#include "index/store/linked_stop.h"
#include "index/store/segment_builder.h"
#include "index/store/snapshot.h"

namespace imagesearch::index {
namespace {

MergePolicy PolicyOf(const Engine& engine, const CollectionState& state) {
  MergePolicy policy;
  policy.wanted = state.options.index.kind;
  policy.merge_tail_rows = static_cast<uint64_t>(engine.options.merge_tail_rows);
  policy.min_indexed_rows = static_cast<uint64_t>(engine.options.min_indexed_rows);
  return policy;
}

}  // namespace

Merger::Merger(Engine* engine, std::shared_ptr<CollectionState> state)
    : engine_(engine), state_(std::move(state)), policy_(PolicyOf(*engine, *state_)) {}

std::optional<MergePlan> Merger::Plan(MergeOccasion occasion, const View& view) const {
  std::vector<PartSize> segments;
  uint64_t live_in_segments = 0;
  for (const SegmentPart& part : view.segments) {
    segments.push_back({part.segment->rows(), part.live, part.segment->requested()});
    live_in_segments += part.live;
  }
  return PlanMerge(policy_, occasion, segments,
                   {view.tail_rows(), view.live - live_in_segments, IndexKind::kFlat});
}

bool Merger::IsDue(MergeOccasion occasion) const {
  return Plan(occasion, *state_->view()).has_value();
}

absl::Status Merger::Run(MergeOccasion occasion, const JobControl& control) {
  MutexLock lock(&mutex_);
  const int cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  const int threads = engine_->options.build_threads > 0 ? engine_->options.build_threads : cores;
  // Nobody watches or stops a background merge but the engine.
  std::optional<LinkedStop> stop;
  JobControl build{control.progress, engine_->cancelled};
  if (control.cancelled != nullptr) {
    build.cancelled = stop.emplace(control.cancelled, engine_->cancelled).flag();
  }
  while (!state_->deleted.load()) {
    if (build.IsCancelled()) return JobCancelled();
    const std::shared_ptr<const View> view = state_->SealTail();
    const std::optional<MergePlan> plan = Plan(occasion, *view);
    if (!plan) return absl::OkStatus();
    absl::Status status = Merge(*plan, *view, threads, build);
    if (!status.ok()) return status;
    // Once is enough: what was written meanwhile was not there when Optimize was called.
    if (occasion == MergeOccasion::kForced) return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::Status Merger::Merge(const MergePlan& plan, const View& view, int threads,
                           const JobControl& control) {
  const uint32_t first_slot =
      plan.first_segment == 0 ? 0 : view.segments[plan.first_segment - 1].segment->end_slot();
  uint32_t end_slot =
      plan.end_segment == 0 ? first_slot : view.segments[plan.end_segment - 1].segment->end_slot();
  if (plan.with_tail && !view.tail.empty()) {
    const TailPart& last = view.tail.back();
    end_slot = last.chunk->slots[last.rows - 1] + 1;
  }
  auto segment = BuildSegment(
      engine_, *state_, view.snapshot, first_slot, end_slot,
      [&](uint64_t rows) { return KindFor(policy_, rows); }, threads, control);
  if (!segment.ok()) return segment.status();
  CrashPoint("merge.before_install");
  state_->InstallSegment(*std::move(segment), first_slot, end_slot);
  CrashPoint("merge.installed");
  return WriteSnapshot(*engine_, *state_, *state_->view(), view.version);
}

}  // namespace imagesearch::index
