#include "index/store/search.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "index/store/dot.h"
#include "index/store/row_mask.h"

namespace imagesearch::index {
namespace {

// Candidates beyond k, so that rows tied with the k-th are usually all at hand and the id decides.
constexpr size_t kTieSlack = 8;
// An approximate search looks no further than this for ties.
constexpr size_t kMaxApproximateFetch = 4096;

float Score(const float* a, const float* b, int dimension) {
  return std::clamp(Dot(a, b, dimension), -1.0f, 1.0f);
}

// One query's way through the parts of a view.
class PartsCollector {
 public:
  PartsCollector(const SearchSpec& spec, int dimension, size_t fetch)
      : spec_(spec), dimension_(dimension), fetch_(fetch) {}

  void AddSegment(const Segment& segment, const std::vector<Neighbor>& neighbors) {
    float worst = 1;
    for (const Neighbor& neighbor : neighbors) {
      const float* vector = segment.vector(neighbor.row);
      const float score = Score(spec_.vector, vector, dimension_);
      worst = std::min(worst, score);
      candidates_.push_back({score, segment.id(neighbor.row), vector});
    }
    if (neighbors.size() >= fetch_) NoteCut(worst);
  }

  void AddTail(const View& view) {
    if (view.tail.empty()) return;
    depth_ = Tuning::Depth(static_cast<double>(spec_.k),
                           static_cast<double>(view.tail_rows()) / static_cast<double>(view.live));
    const QueryCode code = EncodeQueryCode(spec_.vector, dimension_);
    const ErrorBound bound = spec_.exact ? ErrorBound::kProved : ErrorBound::kLikely;
    // What is below the k-th of the segments needs no look.
    float least = -2;
    if (candidates_.size() >= spec_.k) {
      const auto kth = candidates_.begin() + static_cast<ptrdiff_t>(spec_.k) - 1;
      std::nth_element(candidates_.begin(), kth, candidates_.end());
      least = kth->score;
    }
    // As near as an approximate answer of the segments is; a filter or more effort asks for more.
    const bool guided = !spec_.exact && spec_.allowed == nullptr && spec_.effort == 0;
    std::vector<Candidate> heap = ScanTail(view, code, bound, least, guided);
    if (guided && candidates_.size() + heap.size() < spec_.k) {
      heap = ScanTail(view, code, bound, least, false);
    }
    candidates_.insert(candidates_.end(), heap.begin(), heap.end());
  }

  // Sorts and cuts to k. False: rows that a segment left out may tie with the k-th.
  bool Finish(std::vector<Candidate>* result) {
    const size_t k = std::min(spec_.k, candidates_.size());
    std::partial_sort(candidates_.begin(), candidates_.begin() + k, candidates_.end());
    const bool ties_open = k > 0 && best_cut_ >= candidates_[k - 1].score;
    candidates_.resize(k);
    *result = std::move(candidates_);
    return !ties_open;
  }

 private:
  // The rows of `part` that the query should look at, with their bounds; returns how many.
  uint32_t BoundRows(const TailPart& part, const QueryCode& code, ErrorBound bound, bool guided,
                     uint32_t* rows, float* bounds) {
    const TailChunk& chunk = *part.chunk;
    const std::vector<uint64_t>* near = guided ? NearLists(chunk.guide.get()) : nullptr;
    uint32_t n = 0;
    for (uint32_t row = 0; row < part.rows; ++row) {
      const uint32_t list = chunk.lists[row];
      if (near == nullptr || ((*near)[list >> 6] >> (list & 63) & 1)) rows[n++] = row;
    }
    if (n == part.rows) {
      chunk.codes.UpperBounds(code, bound, n, bounds);
    } else {
      chunk.codes.UpperBoundsAt(code, bound, rows, n, bounds);
    }
    return n;
  }

  // Null: there is no guide.
  const std::vector<uint64_t>* NearLists(const ListGuide* guide) {
    if (guide == nullptr) return nullptr;
    for (const auto& [known, lists] : near_) {
      if (known == guide) return lists.get();
    }
    near_.emplace_back(guide, std::make_unique<std::vector<uint64_t>>(
                                  guide->Near(spec_.vector, spec_.kind, depth_)));
    return near_.back().second.get();
  }

  // The best fetch_ rows of the tail whose score is at least `least`.
  std::vector<Candidate> ScanTail(const View& view, const QueryCode& code, ErrorBound bound,
                                  float least, bool guided) {
    // Worst first. It keeps ties by id, so what it drops can't come before what it keeps.
    std::vector<Candidate> heap;
    uint32_t rows[TailChunk::kRows];
    float bounds[TailChunk::kRows];
    for (const TailPart& part : view.tail) {
      const uint32_t n = BoundRows(part, code, bound, guided, rows, bounds);
      for (uint32_t i = 0; i < n; ++i) {
        const uint32_t row = rows[i];
        if (bounds[i] < least || !part.IsAlive(row)) continue;
        if (spec_.allowed != nullptr && !spec_.allowed->Contains(part.chunk->slots[row])) continue;
        const float* vector = part.chunk->vector(row);
        const Candidate candidate{Score(spec_.vector, vector, dimension_), part.chunk->ids[row],
                                  vector};
        if (heap.size() < fetch_) {
          heap.push_back(candidate);
          std::push_heap(heap.begin(), heap.end());
        } else {
          if (!(candidate < heap.front())) continue;
          std::pop_heap(heap.begin(), heap.end());
          heap.back() = candidate;
          std::push_heap(heap.begin(), heap.end());
        }
        if (heap.size() == fetch_) least = std::max(least, heap.front().score);
      }
    }
    return heap;
  }

  // A segment had more rows than it returned, none better than `worst`.
  void NoteCut(float worst) { best_cut_ = std::max(best_cut_, worst); }

  const SearchSpec& spec_;
  const int dimension_;
  const size_t fetch_;
  std::vector<Candidate> candidates_;
  float best_cut_ = -2;
  double depth_ = 1;  // rows wanted of the tail
  std::vector<std::pair<const ListGuide*, std::unique_ptr<std::vector<uint64_t>>>> near_;
};

AnnQuery MakeAnnQuery(const SearchSpec& spec, size_t fetch, const View& view,
                      const SegmentPart& part, const SegmentMask& mask) {
  AnnQuery query;
  query.vector = spec.vector;
  query.kind = spec.kind;
  query.k = static_cast<int>(std::min<size_t>(fetch, mask.count()));
  query.exact = spec.exact;
  query.effort = spec.effort;
  query.part =
      static_cast<double>(part.live) / static_cast<double>(std::max<uint64_t>(view.live, 1));
  query.mask = mask.mask();
  return query;
}

std::vector<Candidate> SearchOne(const View& view, int dimension, const SearchSpec& spec,
                                 size_t fetch) {
  std::vector<Candidate> result;
  while (true) {
    PartsCollector collector(spec, dimension, fetch);
    for (const SegmentPart& part : view.segments) {
      const SegmentMask mask(part, spec.allowed);
      if (mask.count() == 0) continue;
      collector.AddSegment(
          *part.segment, part.segment->index().Search(MakeAnnQuery(spec, fetch, view, part, mask)));
    }
    collector.AddTail(view);
    const bool more = fetch < view.live && (spec.exact || fetch < kMaxApproximateFetch);
    if (collector.Finish(&result) || !more) return result;
    fetch *= 8;
  }
}

}  // namespace

std::vector<std::vector<Candidate>> SearchView(const View& view, int dimension,
                                               absl::Span<const SearchSpec> specs) {
  std::vector<std::vector<Candidate>> results(specs.size());
  if (specs.size() == 1) {
    results[0] = SearchOne(view, dimension, specs[0], specs[0].k + kTieSlack);
    return results;
  }
  std::vector<PartsCollector> collectors;
  for (const SearchSpec& spec : specs) {
    collectors.emplace_back(spec, dimension, spec.k + kTieSlack);
  }
  for (const SegmentPart& part : view.segments) {
    std::vector<std::unique_ptr<SegmentMask>> masks;
    std::vector<AnnQuery> queries;
    std::vector<size_t> owners;
    for (size_t i = 0; i < specs.size(); ++i) {
      auto mask = std::make_unique<SegmentMask>(part, specs[i].allowed);
      if (mask->count() == 0) continue;
      queries.push_back(MakeAnnQuery(specs[i], specs[i].k + kTieSlack, view, part, *mask));
      owners.push_back(i);
      masks.push_back(std::move(mask));
    }
    const auto neighbors = part.segment->index().SearchBatch(queries);
    for (size_t i = 0; i < owners.size(); ++i) {
      collectors[owners[i]].AddSegment(*part.segment, neighbors[i]);
    }
  }
  for (size_t i = 0; i < specs.size(); ++i) {
    collectors[i].AddTail(view);
    if (!collectors[i].Finish(&results[i])) {
      results[i] = SearchOne(view, dimension, specs[i], (specs[i].k + kTieSlack) * 8);
    }
  }
  return results;
}

void ForEachLive(const View& view, const SlotSet* allowed,
                 const std::function<void(absl::string_view id)>& visit) {
  for (const SegmentPart& part : view.segments) {
    const SegmentMask mask(part, allowed);
    for (uint32_t row = 0; row < part.segment->rows(); ++row) {
      if (mask.mask().Allows(row)) visit(part.segment->id(row));
    }
  }
  for (const TailPart& part : view.tail) {
    for (uint32_t row = 0; row < part.rows; ++row) {
      if (!part.IsAlive(row)) continue;
      if (allowed == nullptr || allowed->Contains(part.chunk->slots[row])) {
        visit(part.chunk->ids[row]);
      }
    }
  }
}

std::vector<const float*> SampleRows(const View& view, size_t n) {
  std::vector<const float*> rows;
  uint64_t total = view.tail_rows();
  for (const SegmentPart& part : view.segments) total += part.segment->rows();
  if (total == 0 || n == 0) return rows;
  // The row at a place in the order of slots; null where it is dead.
  const auto row_at = [&](uint64_t place) -> const float* {
    for (const SegmentPart& part : view.segments) {
      const uint32_t held = part.segment->rows();
      if (place < held) {
        const auto row = static_cast<uint32_t>(place);
        return part.IsAlive(row) ? part.segment->vector(row) : nullptr;
      }
      place -= held;
    }
    // All tail parts but the last may be short, too: a sealed chunk takes no more rows.
    for (const TailPart& part : view.tail) {
      if (place < part.rows) {
        const auto row = static_cast<uint32_t>(place);
        return part.IsAlive(row) ? part.chunk->vector(row) : nullptr;
      }
      place -= part.rows;
    }
    return nullptr;
  };
  std::mt19937_64 random(view.version);
  if (total <= 4 * n || view.live <= 4 * n) {
    for (uint64_t place = 0; place < total; ++place) {
      if (const float* row = row_at(place)) rows.push_back(row);
    }
    std::shuffle(rows.begin(), rows.end(), random);
    rows.resize(std::min(rows.size(), n));
    return rows;
  }
  absl::flat_hash_set<uint64_t> taken;
  while (rows.size() < n) {
    const uint64_t place = random() % total;
    if (!taken.insert(place).second) continue;
    if (const float* row = row_at(place)) rows.push_back(row);
  }
  return rows;
}

Bitmap LiveSlots(const View& view, const SlotSet* allowed) {
  std::vector<uint32_t> slots;
  const auto add = [&](uint32_t slot) {
    if (allowed == nullptr || allowed->Contains(slot)) slots.push_back(slot);
  };
  for (const SegmentPart& part : view.segments) {
    for (uint32_t row = 0; row < part.segment->rows(); ++row) {
      if (part.IsAlive(row)) add(part.segment->slot(row));
    }
  }
  for (const TailPart& part : view.tail) {
    for (uint32_t row = 0; row < part.rows; ++row) {
      if (part.IsAlive(row)) add(part.chunk->slots[row]);
    }
  }
  return Bitmap(slots.size(), slots.data());
}

uint64_t CountAllowed(const View& view, const SlotSet& allowed) {
  uint64_t count = 0;
  for (const SegmentPart& part : view.segments) count += SegmentMask(part, &allowed).count();
  for (const TailPart& part : view.tail) {
    for (uint32_t row = 0; row < part.rows; ++row) {
      if (part.IsAlive(row) && allowed.Contains(part.chunk->slots[row])) ++count;
    }
  }
  return count;
}

}  // namespace imagesearch::index
