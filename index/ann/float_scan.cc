// Blocked scans of float32 rows.
#include "index/ann/float_scan.h"

#include <algorithm>
#include <mutex>

#include "index/ann/best.h"
#include "index/ann/parallel.h"
#include "index/ann/simd.h"

namespace imagesearch::index {
namespace {

constexpr uint32_t kPiece = 8192;   // rows of a thread's turn
constexpr uint32_t kRowBlock = 64;  // rows that stay in the second-level cache

}  // namespace

std::vector<std::vector<Neighbor>> FloatScan(const VectorSource& vectors,
                                             absl::Span<const AnnQuery> queries, int threads,
                                             const std::atomic<bool>* cancelled) {
  const size_t d = static_cast<size_t>(vectors.dimension());
  const auto empty = [&queries] {
    std::vector<Best> best;
    for (const AnnQuery& query : queries) best.emplace_back(static_cast<size_t>(query.k));
    return best;
  };
  std::vector<Best> all = empty();
  std::mutex mutex;  // guards `all`
  const auto dot = Simd().dot_f32;
  ParallelFor(vectors.rows(), threads, kPiece, [&](uint32_t begin, uint32_t end) {
    if (cancelled != nullptr && *cancelled) return;
    std::vector<Best> found = empty();
    for (uint32_t first = begin; first < end; first += kRowBlock) {
      const uint32_t last = std::min(end, first + kRowBlock);
      for (size_t q = 0; q < queries.size(); ++q) {
        const AnnQuery& query = queries[q];
        Best& best = found[q];
        for (uint32_t row = first; row < last; ++row) {
          if (!query.mask.Allows(row)) continue;
          best.Offer({dot(query.vector, vectors.Row(row), d), row});
        }
      }
    }
    std::lock_guard lock(mutex);
    for (size_t q = 0; q < queries.size(); ++q) {
      for (const Neighbor& neighbor : std::move(found[q]).Sorted()) all[q].Offer(neighbor);
    }
  });
  std::vector<std::vector<Neighbor>> results;
  for (Best& best : all) results.push_back(std::move(best).Sorted());
  return results;
}

std::vector<Neighbor> FloatScanAllowed(const VectorSource& vectors, const AnnQuery& query) {
  constexpr size_t kReadAhead = 8;
  const uint32_t n = vectors.rows();
  const int d = vectors.dimension();
  const auto dot = Simd().dot_f32;
  Best best(static_cast<size_t>(query.k));
  uint32_t ahead[kReadAhead];
  size_t taken = 0, given = 0;
  const auto score = [&](uint32_t row) {
    best.Offer({dot(query.vector, vectors.Row(row), static_cast<size_t>(d)), row});
  };
  for (uint32_t word = 0; word * uint64_t{64} < n; ++word) {
    for (uint64_t bits = query.mask.words[word]; bits != 0; bits &= bits - 1) {
      const uint32_t row = word * 64 + static_cast<uint32_t>(__builtin_ctzll(bits));
      if (row >= n) break;
      if (taken - given == kReadAhead) score(ahead[given++ % kReadAhead]);
      FetchRow(vectors.Row(row), d);
      ahead[taken++ % kReadAhead] = row;
    }
  }
  while (given < taken) score(ahead[given++ % kReadAhead]);
  return std::move(best).Sorted();
}

}  // namespace imagesearch::index
