// Construction of the graph by FAISS, over 8-bit codes.
#include <faiss/impl/AuxIndexStructures.h>
#include <faiss/impl/DistanceComputer.h>
#include <faiss/impl/HNSW.h>
#include <omp.h>

#include <algorithm>
#include <numeric>
#include <random>

#include "base/error.h"
#include "index/ann/graph.h"
#include "index/ann/parallel.h"

namespace imagesearch::index {
namespace {

// What a row needs beside its code so that two codes give a score.
struct RowTerms {
  std::vector<float> mean_part;  // mean . (scale * c)
  std::vector<int32_t> sums;     // sum of c
};

RowTerms ComputeTerms(const EncodedRows& codes, int threads) {
  RowTerms terms;
  terms.mean_part.resize(codes.rows());
  terms.sums.resize(codes.rows());
  ParallelFor(codes.rows(), threads, 1024, [&](uint32_t begin, uint32_t end) {
    for (uint32_t i = begin; i < end; ++i) {
      const uint8_t* code = codes.code(i);
      float part = 0;
      int32_t sum = 0;
      for (int j = 0; j < codes.dimension(); ++j) {
        const int c = static_cast<int>(code[j]) - 128;
        part += codes.mean()[j] * static_cast<float>(c);
        sum += c;
      }
      terms.mean_part[i] = part * codes.scales()[i];
      terms.sums[i] = sum;
    }
  });
  return terms;
}

// Distances between coded rows for FAISS: the negative score, less a constant. One for each thread.
class CodeDistance final : public faiss::DistanceComputer {
 public:
  CodeDistance(const EncodedRows& codes, const RowTerms& terms)
      : codes_(codes), terms_(terms), query_(codes), other_(codes) {}

  // The row that operator() measures from; takes the place of set_query.
  void SetRow(uint32_t position) { query_.Set(codes_, position); }

  void set_query(const float*) override {}  // rows are coded already: SetRow
  float operator()(int64_t i) override { return Distance(query_, static_cast<uint32_t>(i)); }
  float symmetric_dis(int64_t i, int64_t j) override {
    // FAISS holds j over a loop of i.
    other_.Set(codes_, static_cast<uint32_t>(j));
    return Distance(other_, static_cast<uint32_t>(i));
  }

 private:
  struct SignedCode {
    explicit SignedCode(const EncodedRows& codes) : code(codes.stride(), 0) {}
    void Set(const EncodedRows& codes, uint32_t to) {
      if (position == to) return;
      position = to;
      const uint8_t* from = codes.code(to);
      for (size_t i = 0; i < code.size(); ++i) code[i] = static_cast<int8_t>(from[i] ^ 0x80);
    }
    uint32_t position = 0xffffffff;
    AlignedVector<int8_t> code;
  };

  float Distance(const SignedCode& from, uint32_t to) const {
    int32_t dot;
    simd_.dot_rows(codes_.code(to), codes_.stride(), 1, from.code.data(), &dot);
    dot -= 128 * terms_.sums[from.position];
    const float* scales = codes_.scales();
    return -(terms_.mean_part[from.position] + terms_.mean_part[to] +
             scales[from.position] * scales[to] * static_cast<float>(dot));
  }

  const EncodedRows& codes_;
  const RowTerms& terms_;
  const SimdKernels& simd_ = Simd();
  SignedCode query_;
  SignedCode other_;
};

// FAISS's locks, one for each node.
class Locks {
 public:
  explicit Locks(size_t n) : locks_(n) {
    for (omp_lock_t& lock : locks_) omp_init_lock(&lock);
  }
  ~Locks() {
    for (omp_lock_t& lock : locks_) omp_destroy_lock(&lock);
  }
  std::vector<omp_lock_t>& get() { return locks_; }

 private:
  std::vector<omp_lock_t> locks_;
};

// Highest level first (so that the entry point never changes), at random within a level.
std::vector<uint32_t> InsertionOrder(const faiss::HNSW& hnsw) {
  std::vector<uint32_t> order(hnsw.levels.size());
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), std::mt19937_64(789));
  std::stable_sort(order.begin(), order.end(),
                   [&](uint32_t a, uint32_t b) { return hnsw.levels[a] > hnsw.levels[b]; });
  return order;
}

absl::Status Insert(const EncodedRows& codes, const GraphOptions& options, faiss::HNSW& hnsw) {
  const uint32_t n = codes.rows();
  hnsw.efConstruction = options.ef_construction;
  hnsw.prepare_level_tab(n, false);
  const RowTerms terms = ComputeTerms(codes, options.threads);
  const std::vector<uint32_t> order = InsertionOrder(hnsw);
  Locks locks(n);

  std::atomic<bool> stopped{false};
  constexpr uint32_t kPiece = 256;
  const uint32_t pieces = (n + kPiece - 1) / kPiece;
  std::atomic<uint32_t> next{0};
  ParallelFor(static_cast<uint32_t>(std::max(options.threads, 1)), options.threads, 1,
              [&](uint32_t, uint32_t) {
                try {
                  CodeDistance distance(codes, terms);
                  faiss::VisitedTable visited(static_cast<int>(n));
                  while (!stopped) {
                    const uint32_t piece = next.fetch_add(1);
                    if (piece >= pieces) return;
                    if (options.cancelled != nullptr && *options.cancelled) {
                      stopped = true;
                      return;
                    }
                    const uint32_t end = std::min(n, (piece + 1) * kPiece);
                    for (uint32_t i = piece * kPiece; i < end; ++i) {
                      distance.SetRow(order[i]);
                      // FAISS counts levels from 1.
                      hnsw.add_with_locks(distance, hnsw.levels[order[i]] - 1,
                                          static_cast<int>(order[i]), locks.get(), visited);
                    }
                  }
                } catch (...) {
                  stopped = true;  // the other threads too
                  throw;
                }
              });
  if (stopped) return Error(absl::StatusCode::kCancelled, "CANCELLED", "index build cancelled");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Graph> Graph::Build(const EncodedRows& codes, const GraphOptions& options) {
  Graph graph;
  graph.rows_ = codes.rows();
  graph.m_ = static_cast<uint32_t>(options.m);
  if (graph.rows_ == 0) return graph;
  faiss::HNSW hnsw(options.m);
  absl::Status status = Insert(codes, options, hnsw);
  if (!status.ok()) return status;

  graph.entry_ = static_cast<uint32_t>(hnsw.entry_point);
  const size_t degree = 2 * static_cast<size_t>(graph.m_);
  graph.links_.assign(graph.rows_ * degree, kNone);
  graph.upper_.resize(static_cast<size_t>(std::max(hnsw.max_level, 0)));
  for (uint32_t i = 0; i < graph.rows_; ++i) {
    for (int level = 0; level < hnsw.levels[i]; ++level) {
      size_t begin, end;
      hnsw.neighbor_range(i, level, &begin, &end);
      uint32_t* links;
      if (level == 0) {
        links = graph.links_.data() + i * degree;
      } else {
        UpperLevel& upper = graph.upper_[static_cast<size_t>(level - 1)];
        upper.nodes.push_back(i);
        upper.links.resize(upper.links.size() + graph.m_, kNone);
        links = upper.links.data() + upper.links.size() - graph.m_;
      }
      for (size_t j = begin; j < end && hnsw.neighbors[j] >= 0; ++j) {
        links[j - begin] = static_cast<uint32_t>(hnsw.neighbors[j]);
      }
    }
  }
  return graph;
}

}  // namespace imagesearch::index
