// Blocked scans of 8-bit codes.
#include "index/ann/scan.h"

#include <algorithm>
#include <cstring>

namespace imagesearch::index {
namespace {

constexpr size_t kRowBlock = Collector::kMaxBlock;  // rows that stay in the second-level cache
constexpr size_t kQueryBlock = 32;                  // queries that stay in the first-level cache
// A row read out of order costs about this many rows read in order (measured, 512 dimensions).
constexpr uint32_t kGatherCost = 4;

}  // namespace

bool FewAllowed(const RowMask& mask, uint32_t rows) {
  return mask.words != nullptr && mask.count < rows / kGatherCost;
}

std::vector<Neighbor> ScanAllowed(const SearchData& data, const AnnQuery& query, ErrorBound bound) {
  const uint32_t n = data.codes.rows();
  Collector collector(data, query, bound);
  uint32_t positions[kRowBlock];
  int32_t dots[kRowBlock];
  size_t count = 0;
  const auto flush = [&] {
    Simd().dot_gather(data.codes.codes(), data.codes.stride(), positions, count,
                      collector.encoded().code.data(), dots);
    collector.AddPositions(positions, count, dots);
    count = 0;
  };
  for (uint32_t word = 0; word * uint64_t{64} < n; ++word) {
    for (uint64_t bits = query.mask.words[word]; bits != 0; bits &= bits - 1) {
      const uint32_t row = word * 64 + static_cast<uint32_t>(__builtin_ctzll(bits));
      if (row >= n) break;
      positions[count++] = data.layout.PositionOf(row);
      if (count == kRowBlock) flush();
    }
  }
  if (count > 0) flush();
  return collector.Finish();
}

std::vector<std::vector<Neighbor>> Scan(const SearchData& data, absl::Span<const AnnQuery> queries,
                                        ErrorBound bound) {
  const uint32_t n = data.codes.rows();
  const size_t stride = data.codes.stride();
  std::vector<std::vector<Neighbor>> results(queries.size());

  std::vector<Collector> collectors;
  std::vector<size_t> shared;  // queries of the shared pass
  for (size_t q = 0; q < queries.size(); ++q) {
    if (FewAllowed(queries[q].mask, n)) {
      results[q] = ScanAllowed(data, queries[q], bound);
    } else {
      shared.push_back(q);
      collectors.emplace_back(data, queries[q], bound);
    }
  }
  if (shared.empty()) return results;

  AlignedVector<int8_t> codes(shared.size() * stride);
  for (size_t i = 0; i < shared.size(); ++i) {
    std::memcpy(codes.data() + i * stride, collectors[i].encoded().code.data(), stride);
  }
  std::vector<int32_t> dots(std::min(kQueryBlock, shared.size()) * kRowBlock);
  const SimdKernels& simd = Simd();
  for (uint64_t first = 0; first < n; first += kRowBlock) {
    const size_t rows = std::min<uint64_t>(kRowBlock, n - first);
    const uint8_t* block = data.codes.codes() + first * stride;
    if (first + rows < n) FetchStart(block + rows * stride, stride, n - first - rows);
    for (size_t q = 0; q < shared.size(); q += kQueryBlock) {
      const size_t nq = std::min(kQueryBlock, shared.size() - q);
      if (nq == 1) {
        simd.dot_rows(block, stride, rows, codes.data() + q * stride, dots.data());
      } else {
        simd.dot_tile(block, stride, rows, codes.data() + q * stride, nq, dots.data(), kRowBlock);
      }
      for (size_t i = 0; i < nq; ++i) {
        collectors[q + i].AddRange(static_cast<uint32_t>(first), rows, dots.data() + i * kRowBlock);
      }
    }
  }
  for (size_t i = 0; i < shared.size(); ++i) results[shared[i]] = collectors[i].Finish();
  return results;
}

}  // namespace imagesearch::index
