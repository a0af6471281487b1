// A navigable graph over positions: FAISS's HNSW construction over our codes, kept as compact
// arrays and searched by a walk of our own.
#ifndef IMAGESEARCH_INDEX_ANN_GRAPH_H_
#define IMAGESEARCH_INDEX_ANN_GRAPH_H_

#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "index/ann/aligned.h"
#include "index/ann/collector.h"

namespace imagesearch::index {

struct GraphOptions {
  int m = 16;                // links of a node above the lowest level; twice as many on the lowest
  int ef_construction = 80;  // candidates kept while a node looks for its links
  int threads = 1;
  const std::atomic<bool>* cancelled = nullptr;  // may be null
};

// Immutable after Build or Load; Walk is thread-safe.
class Graph {
 public:
  Graph() = default;

  // CANCELLED when told so. Throws what FAISS and the allocator throw.
  static absl::StatusOr<Graph> Build(const EncodedRows& codes, const GraphOptions& options);

  struct Met {
    uint32_t positions = 0;
    uint32_t allowed = 0;  // of them, by the query's mask
  };
  // Follows links towards the query, keeping the `ef` best positions met, and gives each position
  // met that the query's mask allows to `collector`.
  Met Walk(const SearchData& data, int ef, Collector& collector) const;

  uint64_t memory_bytes() const;

  void Save(ByteSink& sink) const;
  // false when the stream is short or a number in it can't be right for `rows` positions.
  bool Load(ByteSource& source, uint32_t rows);

 private:
  static constexpr uint32_t kNone = 0xffffffff;  // ends a list of links
  struct UpperLevel {
    std::vector<uint32_t> nodes;  // ascending
    std::vector<uint32_t> links;  // (nodes, m) row-major
  };
  // Links of `node` on an upper level; null when it isn't there.
  const uint32_t* UpperLinks(const UpperLevel& level, uint32_t node) const;

  uint32_t rows_ = 0;
  uint32_t m_ = 0;
  uint32_t entry_ = 0;
  std::vector<UpperLevel> upper_;  // [0] is the level above the lowest
  AlignedVector<uint32_t> links_;  // (rows, 2 m) row-major: the lowest level
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_GRAPH_H_
