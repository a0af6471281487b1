// Nearest neighbours over one view: every segment's index and the exact tail, merged.
#ifndef IMAGESEARCH_INDEX_STORE_SEARCH_H_
#define IMAGESEARCH_INDEX_STORE_SEARCH_H_

#include <cstdint>
#include <functional>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "index/collection.h"
#include "index/store/slot_set.h"
#include "index/store/view.h"

namespace imagesearch::index {

struct SearchSpec {
  const float* vector = nullptr;  // length 1
  QueryKind kind = QueryKind::kImage;
  size_t k = 10;  // >= 1
  bool exact = false;
  int effort = 0;                    // of the index; 0: what it was tuned to
  const SlotSet* allowed = nullptr;  // slots; null: all
};

// Valid while the view is held.
struct Candidate {
  float score = 0;  // Dot(), within [-1, 1]
  absl::string_view id;
  const float* vector = nullptr;
  // Best first; equal scores by id.
  friend bool operator<(const Candidate& a, const Candidate& b) {
    return a.score != b.score ? a.score > b.score : a.id < b.id;
  }
};

// The k nearest live, allowed rows, best first; fewer only when fewer are live and allowed. Result
// i belongs to specs[i].
std::vector<std::vector<Candidate>> SearchView(const View& view, int dimension,
                                               absl::Span<const SearchSpec> specs);

// Calls `visit` with the id of every live row that is in `allowed` (null: all), by slot.
void ForEachLive(const View& view, const SlotSet* allowed,
                 const std::function<void(absl::string_view id)>& visit);

// At most `n` live rows, chosen at random without repetition; equal views give equal rows. Takes
// time in proportion to `n`, unless most rows are dead.
std::vector<const float*> SampleRows(const View& view, size_t n);

// The slots of live rows that are in `allowed` (null: all).
Bitmap LiveSlots(const View& view, const SlotSet* allowed);

// How many live rows are in `allowed`.
uint64_t CountAllowed(const View& view, const SlotSet& allowed);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_SEARCH_H_
