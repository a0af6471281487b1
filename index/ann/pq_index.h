// Inverted lists of product-quantised codes: a fraction of the memory of 8-bit codes, for
// collections whose full vectors stay on disk. Candidates are chosen by codes and settled with the
// full vectors, as many as hold the target recall.
#ifndef IMAGESEARCH_INDEX_ANN_PQ_INDEX_H_
#define IMAGESEARCH_INDEX_ANN_PQ_INDEX_H_

#include <memory>
#include <vector>

#include "index/ann/ann_index.h"
#include "index/ann/list_guide.h"
#include "index/ann/lists.h"
#include "index/ann/pq_codes.h"
#include "index/ann/pq_search.h"
#include "index/ann/pq_tuning.h"

namespace imagesearch::index {

inline constexpr uint32_t kPqMagic = 0x51504149;  // the bytes I A P Q

// Everything of an index but the full-precision vectors.
struct PqParts {
  PqCodes codes;
  std::vector<uint32_t> order;  // the row at each position
  Lists lists;                  // PqIndex keeps them in its guide
  PqTuning tuning;
  int fixed_probes = 0;  // what the collection's options fix for every query; 0: tuned
};

class PqIndex final : public AnnIndex {
 public:
  PqIndex(std::shared_ptr<const VectorSource> vectors, PqParts parts);

  // `pq_bytes`: a divisor of the dimension, 1 to kMaxPqBytes. CANCELLED when told so. Throws what
  // the allocator throws.
  static absl::StatusOr<std::unique_ptr<AnnIndex>> Build(
      std::shared_ptr<const VectorSource> vectors, const AnnBuildOptions& options, int pq_bytes);

  IndexKind kind() const override { return IndexKind::kIvf; }
  int pq_bytes() const override { return parts_.codes.pq_bytes(); }
  uint32_t rows() const override { return parts_.codes.rows(); }
  int dimension() const override { return parts_.codes.dimension(); }
  uint64_t memory_bytes() const override;
  std::vector<Neighbor> Search(const AnnQuery& query) const override;
  std::vector<std::vector<Neighbor>> SearchBatch(absl::Span<const AnnQuery> queries) const override;
  std::shared_ptr<const ListGuide> guide() const override {
    return data_.lists.size() > 0 ? guide_ : nullptr;
  }
  // Little-endian, no padding, numbers of 32 bits unless said otherwise:
  //   "IAPQ", format (1), rows n, dimension d, pq_bytes b, fixed probes
  //   row at each position [n]; lists as of CodedIndex
  //   codes: float list scales [l]; float directions[2][d], least[2], step[2];
  //          float entries[b][d / b][256]; uint8 codes[n / 64 rounded up][b + 2][64]
  //   tuning as of CodedIndex, then float slack of images [3], of texts [3]
  absl::Status Save(ByteSink& sink) const override;

  // What follows the magic number. DATA_LOSS when the stream isn't what Save wrote for these
  // vectors.
  static absl::StatusOr<std::unique_ptr<AnnIndex>> Load(
      ByteSource& source, std::shared_ptr<const VectorSource> vectors);

 private:
  std::vector<Neighbor> Approximate(const AnnQuery& query) const;

  const std::shared_ptr<const VectorSource> vectors_;
  PqParts parts_;                                 // constant after construction, without its lists
  const std::shared_ptr<const ListGuide> guide_;  // whose lists serve here, too
  const PqData data_;                             // of the three above
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_PQ_INDEX_H_
