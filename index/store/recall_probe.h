// Compares a small sample of live answers with exact ones, and remembers what people ask for.
#ifndef IMAGESEARCH_INDEX_STORE_RECALL_PROBE_H_
#define IMAGESEARCH_INDEX_STORE_RECALL_PROBE_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/types/span.h"
#include "base/mutex.h"
#include "index/collection.h"

namespace imagesearch::index {

// Thread-safe. Searches only offer; the comparison runs elsewhere.
class RecallProbe {
 public:
  static constexpr int kTop = 10;  // recall@10

  // A query that was answered approximately, of length 1. Never waits.
  void Offer(QueryKind kind, const std::vector<float>& vector);

  // Queries to compare, at most one of each kind.
  std::vector<std::pair<QueryKind, std::vector<float>>> Take();
  // How many of the `wanted` exact best an approximate answer had.
  void Report(QueryKind kind, int found, int wanted);

  // Over the last kRemembered comparisons; nullopt before the first.
  std::optional<double> Recall(QueryKind kind) const;

  // The last text queries, (t, dimension) row-major, at most kTextSample of them: they show an
  // index where texts lie.
  std::vector<float> TextSample() const;

 private:
  static constexpr size_t kRemembered = 256;
  static constexpr size_t kTextSample = 1024;
  struct OfKind {
    std::optional<std::vector<float>> waiting;
    std::vector<std::pair<int, int>> results;  // found, wanted: a ring
    size_t next = 0;
  };

  mutable Mutex mutex_;
  std::array<OfKind, 3> kinds_ ABSL_GUARDED_BY(mutex_);
  std::vector<std::vector<float>> texts_ ABSL_GUARDED_BY(mutex_);  // a ring
  size_t next_text_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_RECALL_PROBE_H_
