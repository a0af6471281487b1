// The index kinds over 8-bit codes: what they hold and how a query finds its way. FLAT is codes
// alone; HNSW adds a graph.
#ifndef IMAGESEARCH_INDEX_ANN_CODED_INDEX_H_
#define IMAGESEARCH_INDEX_ANN_CODED_INDEX_H_

#include <memory>
#include <optional>
#include <vector>

#include "index/ann/ann_index.h"
#include "index/ann/codes.h"
#include "index/ann/graph.h"
#include "index/ann/layout.h"

namespace imagesearch::index {

// Everything of an index but the full-precision vectors.
struct IndexParts {
  IndexKind kind = IndexKind::kFlat;
  EncodedRows codes;
  Layout layout;
  std::optional<Graph> graph;
  int ef = 64;  // of a walk for a query that gives none
};

class CodedIndex final : public AnnIndex {
 public:
  CodedIndex(std::shared_ptr<const VectorSource> vectors, IndexParts parts);

  IndexKind kind() const override { return parts_.kind; }
  uint32_t rows() const override { return parts_.codes.rows(); }
  int dimension() const override { return parts_.codes.dimension(); }
  uint64_t memory_bytes() const override;
  std::vector<Neighbor> Search(const AnnQuery& query) const override;
  std::vector<std::vector<Neighbor>> SearchBatch(absl::Span<const AnnQuery> queries) const override;
  absl::Status Save(ByteSink& sink) const override;

  // DATA_LOSS when the stream isn't what Save wrote for these vectors.
  static absl::StatusOr<std::unique_ptr<AnnIndex>> Load(
      ByteSource& source, std::shared_ptr<const VectorSource> vectors);

 private:
  bool Scans(const AnnQuery& query) const;
  std::vector<Neighbor> WalkGraph(const AnnQuery& query) const;

  const std::shared_ptr<const VectorSource> vectors_;
  const IndexParts parts_;
  const SearchData data_;  // of the two above
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_CODED_INDEX_H_
