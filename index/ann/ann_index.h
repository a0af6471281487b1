// One immutable nearest-neighbour index over rows 0..n-1 of unit vectors: FLAT, HNSW and IVF behind
// one interface. Inner product of unit vectors = cosine; higher is nearer. A row is a position in
// this index, not a stored slot.
#ifndef IMAGESEARCH_INDEX_ANN_ANN_INDEX_H_
#define IMAGESEARCH_INDEX_ANN_ANN_INDEX_H_

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "index/collection.h"

namespace imagesearch::index {

struct Neighbor {
  float score = 0;
  uint32_t row = 0;
  // Best first; equal scores by row.
  friend bool operator<(const Neighbor& a, const Neighbor& b) {
    return a.score != b.score ? a.score > b.score : a.row < b.row;
  }
};

// Rows that a search may return: bit i of word i/64. Null `words`: all rows. `count`: bits set,
// about (chooses the path).
struct RowMask {
  const uint64_t* words = nullptr;
  uint32_t count = 0;
  bool Allows(uint32_t row) const {
    return words == nullptr || (words[row >> 6] >> (row & 63) & 1);
  }
};

struct AnnQuery {
  const float* vector = nullptr;  // dimension() values, length 1
  QueryKind kind = QueryKind::kImage;
  int k = 10;  // rows wanted, >= 1
  bool exact = false;
  int effort = 0;  // ef (HNSW) or nprobe (IVF); 0: what the index was tuned to
  // Of all rows that are searched for the k nearest, those in this index: an approximate search
  // looks less far in a small part.
  double part = 1;
  RowMask mask = {};
};

// Full-precision vectors by row, for rescoring and building: (n, d) row-major float32, length 1,
// usually memory-mapped.
class VectorSource {
 public:
  virtual ~VectorSource() = default;
  virtual uint32_t rows() const = 0;
  virtual int dimension() const = 0;
  // Valid as long as the source lives. Thread-safe.
  virtual const float* Row(uint32_t row) const = 0;
};

// Writes or reads a byte stream; errors stick (ok() turns false). The snapshot container checks
// CRCs before a reader sees a byte.
class ByteSink {
 public:
  virtual ~ByteSink() = default;
  virtual void Write(const void* data, size_t size) = 0;
};
class ByteSource {
 public:
  virtual ~ByteSource() = default;
  // false: fewer than `size` bytes were left.
  virtual bool Read(void* data, size_t size) = 0;
  virtual uint64_t remaining() const = 0;
};

class ListGuide;

// Immutable after construction; all methods const and thread-safe.
class AnnIndex {
 public:
  virtual ~AnnIndex() = default;
  virtual IndexKind kind() const = 0;         // never kAuto
  virtual int pq_bytes() const { return 0; }  // of a product-quantised code; 0: codes of 8 bits
  virtual uint32_t rows() const = 0;
  virtual int dimension() const = 0;
  virtual uint64_t memory_bytes() const = 0;

  // The k nearest allowed rows (fewer only when fewer are allowed), best first, scores in float32
  // of the full-precision vectors. FLAT and `exact` find exactly what a float32 scan finds.
  virtual std::vector<Neighbor> Search(const AnnQuery& query) const = 0;
  // The same for many; result i belongs to queries[i]. Default: one after another; FLAT shares its
  // scan.
  virtual std::vector<std::vector<Neighbor>> SearchBatch(absl::Span<const AnnQuery> queries) const;

  // For rows that come later (list_guide.h); null: this index has no lists.
  virtual std::shared_ptr<const ListGuide> guide() const { return nullptr; }

  // In the project's own format (docs/formats.md), without the full-precision vectors.
  virtual absl::Status Save(ByteSink& sink) const = 0;
};

struct AnnBuildOptions {
  // kAuto: FLAT for few rows, otherwise whichever of IVF and HNSW is measured to serve better and
  // fits these rows' share of memory_bytes; product-quantised IVF where codes of 8 bits do not fit.
  IndexOptions index;
  // Rows that searches read beside these: a small part of a large collection gets lists earlier.
  uint64_t rows_beside = 0;
  int threads = 1;
  std::shared_ptr<const std::atomic<bool>>
      cancelled;  // may be null; a cancelled build returns CANCELLED
  // Unit text vectors (t, d) row-major that show where text queries lie; may be empty.
  std::vector<float> text_sample;
};

// Builds over all rows of `vectors`, which the index keeps for rescoring. INVALID_ARGUMENT for bad
// options.
absl::StatusOr<std::unique_ptr<AnnIndex>> BuildAnnIndex(std::shared_ptr<const VectorSource> vectors,
                                                        const AnnBuildOptions& options);

// Reads what Save wrote. DATA_LOSS when it does not fit `vectors` or is inconsistent: every size is
// checked before anything is allocated.
absl::StatusOr<std::unique_ptr<AnnIndex>> LoadAnnIndex(ByteSource& source,
                                                       std::shared_ptr<const VectorSource> vectors);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_ANN_INDEX_H_
