// Product-quantised codes of rows: a few bytes a row, approximate scores by table look-ups.
//
// A row x of list l is coded as x ~ s_l c_l + r, with c_l the list's stored centroid, s_l what fits
// the list's rows best, and r put together of one of 256 entries for each of pq_bytes parts of the
// dimension. A query's product with a row is then s_l (q . c_l) plus one table look-up for each
// byte, and the tables serve all lists.
//
// What the codes leave, e = x - s_l c_l - r, has a product with every query. All image queries
// share a large part (the images' mean) and all text queries another one, so that part of the error
// is the same for all of them: two more bytes a row hold u . e along these two directions, and
// their look-ups take it out of the score.
#ifndef IMAGESEARCH_INDEX_ANN_PQ_CODES_H_
#define IMAGESEARCH_INDEX_ANN_PQ_CODES_H_

#include <array>
#include <atomic>
#include <cstdint>
#include <vector>

#include "absl/types/span.h"
#include "index/ann/aligned.h"
#include "index/ann/ann_index.h"
#include "index/ann/layout.h"
#include "index/ann/lists.h"
#include "index/ann/pq_kernels.h"

namespace imagesearch::index {

// Bytes a row beside pq_bytes: the shared directions.
inline constexpr size_t kPqDirections = 2;
inline constexpr int kMaxPqBytes = 256;

struct PqOptions {
  int pq_bytes = 0;                     // a divisor of the dimension, 1 to kMaxPqBytes
  absl::Span<const float> image_mean;   // of all rows
  absl::Span<const float> text_sample;  // (t, d) row-major; may be empty
  int threads = 1;
  const std::atomic<bool>* cancelled = nullptr;  // may be null
};

// A query's look-up tables: a row's score is its list's product (ListProduct) + base + step * sum.
struct PqQuery {
  AlignedVector<uint8_t> table;  // (columns, 256) row-major
  float base = 0;
  float step = 0;
};

// Codes by position in blocks of 64 rows, column after column within a block. Immutable after Build
// or Load; thread-safe.
class PqCodes {
 public:
  PqCodes() = default;

  // false: cancelled.
  bool Build(const VectorSource& vectors, const Layout& layout, const Lists& lists,
             const PqOptions& options);

  uint32_t rows() const { return rows_; }
  int dimension() const { return dimension_; }
  int pq_bytes() const { return pq_bytes_; }
  size_t columns() const { return static_cast<size_t>(pq_bytes_) + kPqDirections; }
  // The codes of the block that holds `position`.
  const uint8_t* block(uint32_t position) const {
    return codes_.data() + position / kPqBlock * kPqBlock * columns();
  }
  uint64_t block_bytes() const { return kPqBlock * columns(); }
  uint64_t memory_bytes() const;

  PqQuery MakeQuery(const float* query) const;
  // s_l (q . c_l), of what Lists::NearestScored gave.
  float ListProduct(const Lists::Scored& list) const {
    return list_scales_[list.list] * list.score;
  }
  // Sum of the look-ups of one row.
  uint32_t Sum(const PqQuery& query, uint32_t position) const;

  // lists of `lists` lists.
  void Save(ByteSink& sink) const;
  // false when the stream is short or its numbers are impossible.
  bool Load(ByteSource& source, uint32_t rows, int dimension, int pq_bytes, uint32_t lists);

 private:
  size_t width() const { return static_cast<size_t>(dimension_ / pq_bytes_); }
  const float* book(size_t m) const { return books_.data() + m * width() * kPqEntries; }
  void FindDirections(const PqOptions& options);
  bool FitLists(const VectorSource& vectors, const Layout& layout, const Lists& lists,
                const PqOptions& options);
  bool Train(const VectorSource& vectors, const Layout& layout, const Lists& lists,
             const PqOptions& options);
  bool Encode(const VectorSource& vectors, const Layout& layout, const Lists& lists,
              const PqOptions& options);
  // x - s_l c_l of the row at a position.
  void Residual(const float* x, uint32_t list, const float* centroid, float* out) const;

  uint32_t rows_ = 0;
  int dimension_ = 0;
  int pq_bytes_ = 0;
  std::vector<float> list_scales_;
  std::vector<float> directions_;                // (kPqDirections, d) row-major, orthonormal or 0
  std::array<float, kPqDirections> least_ = {};  // u . e is least + step * code
  std::array<float, kPqDirections> step_ = {};
  std::vector<float> books_;       // (pq_bytes, width, 256) row-major
  std::vector<float> half_norms_;  // (pq_bytes, 256): of the entries; empty but while building
  AlignedVector<uint8_t> codes_;   // (blocks, columns, 64) row-major
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_PQ_CODES_H_
