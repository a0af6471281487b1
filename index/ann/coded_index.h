// The index kinds over 8-bit codes. FLAT is codes alone; IVF adds lists; HNSW adds lists and a
// graph, since text queries need the lists. Each query takes the path that was measured to be the
// cheapest for its kind, mask and k.
#ifndef IMAGESEARCH_INDEX_ANN_CODED_INDEX_H_
#define IMAGESEARCH_INDEX_ANN_CODED_INDEX_H_

#include <memory>
#include <optional>
#include <vector>

#include "index/ann/ann_index.h"
#include "index/ann/codes.h"
#include "index/ann/graph.h"
#include "index/ann/layout.h"
#include "index/ann/list_guide.h"
#include "index/ann/lists.h"
#include "index/ann/tuning.h"

namespace imagesearch::index {

inline constexpr uint32_t kCodedMagic = 0x4e4e4149;  // the bytes I A N N

// Everything of an index but the full-precision vectors.
struct IndexParts {
  IndexKind kind = IndexKind::kFlat;
  EncodedRows codes;
  Layout layout;               // the identity for FLAT
  std::optional<Lists> lists;  // of IVF and HNSW
  std::optional<Graph> graph;  // of HNSW
  Tuning tuning;
  // What the collection's options fix for every query; 0: tuned.
  int fixed_ef = 0;
  int fixed_probes = 0;
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
  std::shared_ptr<const ListGuide> guide() const override { return guide_; }
  // Little-endian, no padding, numbers of 32 bits unless said otherwise:
  //   "IANN", format (4), kind (1 FLAT, 2 HNSW, 3 IVF), rows n, dimension d, fixed ef, fixed probes
  //   codes: float error_ratio, max_norm, flat_error; float mean[d]; float scales[n];
  //          uint8 codes[n][stride], stride = d rounded up to a multiple of 64
  //   HNSW and IVF: row at each position [n]; lists l, groups g, list offsets [l + 1],
  //          group offsets [g + 1], codes of l centroids, codes of g centroids;
  //          tuning: for images, then texts: float probes[3], first, breadth, probe_ns, ef,
  //          walk_ns; float row_ns, gather_ns
  //   HNSW:  links m, entry position, upper levels u; for each: nodes v, node positions [v],
  //          links [v][m]; links of the lowest level [n][2 m]; 0xffffffff ends a row of links
  absl::Status Save(ByteSink& sink) const override;

  // What follows the magic number. DATA_LOSS when the stream isn't what Save wrote for these
  // vectors.
  static absl::StatusOr<std::unique_ptr<AnnIndex>> Load(
      ByteSource& source, std::shared_ptr<const VectorSource> vectors);

 private:
  bool ScansAll(const AnnQuery& query) const { return query.exact || !parts_.lists; }
  std::vector<Neighbor> Approximate(const AnnQuery& query) const;

  const std::shared_ptr<const VectorSource> vectors_;
  const IndexParts parts_;
  const SearchData data_;  // of the two above
  const std::shared_ptr<const ListGuide> guide_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_CODED_INDEX_H_
