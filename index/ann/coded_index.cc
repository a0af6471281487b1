// Search, saving and loading of the index kinds.
#include "index/ann/coded_index.h"

#include <algorithm>
#include <exception>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/ann/byte_stream.h"
#include "index/ann/scan.h"

namespace imagesearch::index {
namespace {

constexpr uint32_t kMagic = 0x4e4e4149;  // "IANN"
constexpr uint32_t kFormat = 1;
constexpr int kMaxEf = 10'000;
// With a smaller part of the rows allowed, a scan of codes is used instead of a walk.
constexpr double kMinWalkShare = 0.3;
constexpr double kMinMetShare = 0.7;

// Allowed rows of a query, for the choice of a path.
uint32_t Allowed(const AnnQuery& query, uint32_t rows) {
  return query.mask.words == nullptr ? rows : std::min(query.mask.count, rows);
}

absl::Status Damaged(absl::string_view what) {
  return Error(absl::StatusCode::kDataLoss, "BAD_SNAPSHOT",
               absl::StrCat("the stored index is damaged or doesn't fit its vectors: ", what));
}

}  // namespace

CodedIndex::CodedIndex(std::shared_ptr<const VectorSource> vectors, IndexParts parts)
    : vectors_(std::move(vectors)),
      parts_(std::move(parts)),
      data_{*vectors_, parts_.codes, parts_.layout} {}

uint64_t CodedIndex::memory_bytes() const {
  return parts_.codes.memory_bytes() + parts_.layout.memory_bytes() +
         (parts_.graph ? parts_.graph->memory_bytes() : 0);
}

bool CodedIndex::Scans(const AnnQuery& query) const {
  // Text lies away from the images that the graph links: a walk would have to meet most of them.
  return query.exact || !parts_.graph || query.kind != QueryKind::kImage;
}

std::vector<Neighbor> CodedIndex::WalkGraph(const AnnQuery& query) const {
  const uint32_t allowed = Allowed(query, rows());
  const double share = rows() == 0 ? 1 : static_cast<double>(allowed) / rows();
  if (share >= kMinWalkShare) {
    // Of the positions met, a part of `share` counts.
    const double ef = std::max(query.effort > 0 ? query.effort : parts_.ef, query.k) / share;
    Collector collector(data_, query, ErrorBound::kLikely);
    const Graph::Met met =
        parts_.graph->Walk(data_, static_cast<int>(std::min<double>(ef, kMaxEf)), collector);
    // Far fewer allowed than elsewhere: those allowed lie away from the query, where the walk did
    // not go.
    if (met.allowed >= kMinMetShare * share * met.positions) {
      std::vector<Neighbor> found = collector.Finish();
      if (found.size() >= std::min<size_t>(static_cast<size_t>(query.k), allowed)) return found;
    }
  }
  return std::move(Scan(data_, {&query, 1}, ErrorBound::kLikely)[0]);
}

std::vector<Neighbor> CodedIndex::Search(const AnnQuery& query) const {
  if (!Scans(query)) return WalkGraph(query);
  const bool proved = query.exact || parts_.kind == IndexKind::kFlat;
  return std::move(Scan(data_, {&query, 1}, proved ? ErrorBound::kProved : ErrorBound::kLikely)[0]);
}

std::vector<std::vector<Neighbor>> CodedIndex::SearchBatch(
    absl::Span<const AnnQuery> queries) const {
  std::vector<std::vector<Neighbor>> results(queries.size());
  std::vector<AnnQuery> scanned;
  std::vector<size_t> at;
  bool proved = parts_.kind == IndexKind::kFlat;
  for (size_t i = 0; i < queries.size(); ++i) {
    if (Scans(queries[i])) {
      scanned.push_back(queries[i]);
      at.push_back(i);
      proved |= queries[i].exact;
    } else {
      results[i] = WalkGraph(queries[i]);
    }
  }
  std::vector<std::vector<Neighbor>> found =
      Scan(data_, scanned, proved ? ErrorBound::kProved : ErrorBound::kLikely);
  for (size_t i = 0; i < at.size(); ++i) results[at[i]] = std::move(found[i]);
  return results;
}

absl::Status CodedIndex::Save(ByteSink& sink) const {
  WriteValue(sink, kMagic);
  WriteValue(sink, kFormat);
  WriteValue(sink, static_cast<uint32_t>(parts_.kind));
  WriteValue(sink, rows());
  WriteValue(sink, static_cast<uint32_t>(dimension()));
  WriteValue(sink, static_cast<uint32_t>(parts_.ef));
  WriteValue(sink, static_cast<uint32_t>(parts_.graph.has_value() ? 1 : 0));
  parts_.codes.Save(sink);
  if (parts_.graph) parts_.graph->Save(sink);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<AnnIndex>> CodedIndex::Load(
    ByteSource& source, std::shared_ptr<const VectorSource> vectors) {
  uint32_t magic, format, kind, rows, dimension, ef, has_graph;
  if (!ReadValue(source, magic) || !ReadValue(source, format) || !ReadValue(source, kind) ||
      !ReadValue(source, rows) || !ReadValue(source, dimension) || !ReadValue(source, ef) ||
      !ReadValue(source, has_graph)) {
    return Damaged("its header is cut short");
  }
  if (magic != kMagic) return Damaged("it does not start as an index does");
  if (format != kFormat) return Damaged(absl::StrCat("unknown format ", format));
  if (rows != vectors->rows() || dimension != static_cast<uint32_t>(vectors->dimension())) {
    return Damaged(absl::StrCat(rows, " rows of ", dimension, " values, but the vectors are ",
                                vectors->rows(), " of ", vectors->dimension()));
  }
  IndexParts parts;
  parts.kind = static_cast<IndexKind>(kind);
  const bool known = parts.kind == IndexKind::kFlat || parts.kind == IndexKind::kHnsw;
  if (!known || has_graph != (parts.kind == IndexKind::kHnsw ? 1u : 0u) || ef == 0 || ef > kMaxEf) {
    return Damaged("impossible settings");
  }
  parts.ef = static_cast<int>(ef);
  try {
    if (!parts.codes.Load(source, rows, static_cast<int>(dimension))) return Damaged("codes");
    if (has_graph != 0 && !parts.graph.emplace().Load(source, rows)) return Damaged("graph");
  } catch (const std::bad_alloc&) {
    return Error(absl::StatusCode::kResourceExhausted, "OUT_OF_MEMORY",
                 absl::StrCat("no memory for an index of ", rows, " rows"));
  }
  return std::make_unique<CodedIndex>(std::move(vectors), std::move(parts));
}

}  // namespace imagesearch::index
