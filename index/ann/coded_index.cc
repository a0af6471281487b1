// Search paths, saving and loading of the index kinds.
#include "index/ann/coded_index.h"

#include <algorithm>
#include <cmath>
#include <exception>
#include <limits>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/ann/byte_stream.h"
#include "index/ann/scan.h"

namespace imagesearch::index {
namespace {

constexpr uint32_t kFormat = 4;
constexpr int kMaxEf = 10'000;
constexpr int kMaxProbes = 65'536;
// With a smaller part of the rows allowed, a walk meets too few of them.
constexpr double kMinWalkShare = 0.3;
// When a walk meets less than this of the allowed rows that their share promises, they lie away
// from the query, where the walk did not go.
constexpr double kMinMetShare = 0.7;
// Testing a row's bit in the mask, in list order.
constexpr double kTestNs = 1.5;

}  // namespace

CodedIndex::CodedIndex(std::shared_ptr<const VectorSource> vectors, IndexParts parts)
    : vectors_(std::move(vectors)),
      parts_(std::move(parts)),
      data_{*vectors_, parts_.codes, parts_.layout},
      guide_(parts_.lists && parts_.lists->size() > 0
                 ? std::make_shared<ListGuide>(*parts_.lists, parts_.tuning, dimension())
                 : nullptr) {}

uint64_t CodedIndex::memory_bytes() const {
  return parts_.codes.memory_bytes() + parts_.layout.memory_bytes() +
         (parts_.lists ? parts_.lists->memory_bytes() : 0) +
         (guide_ != nullptr ? guide_->memory_bytes() : 0) +
         (parts_.graph ? parts_.graph->memory_bytes() : 0);
}

std::vector<Neighbor> CodedIndex::Approximate(const AnnQuery& query) const {
  const uint32_t n = rows();
  const Lists& lists = *parts_.lists;
  const Tuning& tuning = parts_.tuning;
  // A mix of text and image lies between them; what serves text serves it.
  const KindTuning& kind = query.kind == QueryKind::kImage ? tuning.image : tuning.text;
  const bool masked = query.mask.words != nullptr;
  const double allowed = masked ? std::min(query.mask.count, n) : n;
  const double share = n == 0 ? 1 : std::max(allowed, 1.0) / n;
  const size_t wanted = std::min<size_t>(static_cast<size_t>(query.k), n);
  // The nearest k of a part of the rows lie among the nearest k / part of all.
  const double depth = Tuning::Depth(query.k, query.part) / share;

  const bool ivf = parts_.kind == IndexKind::kIvf;
  const int fixed_probes = ivf && query.effort > 0 ? query.effort : parts_.fixed_probes;
  const int fixed_ef = !ivf && query.effort > 0 ? query.effort : parts_.fixed_ef;
  const uint32_t probes = fixed_probes > 0
                              ? std::min(static_cast<uint32_t>(fixed_probes), lists.size())
                              : Tuning::Probes(kind, depth, lists.size());
  const double part = lists.size() == 0 ? 1 : static_cast<double>(probes) / lists.size();

  // Nanoseconds that each path takes, by the costs measured at build time.
  const double infinite = std::numeric_limits<double>::infinity();
  const double allowed_ns = masked ? allowed * tuning.gather_ns + n / 64.0 : infinite;
  const double ranked =
      masked ? lists.size() : std::min<double>(lists.size(), double{kind.breadth} * probes);
  const double lists_ns =
      ranked * tuning.row_ns +
      part * n * (masked ? kTestNs + share * tuning.gather_ns : double{tuning.row_ns});
  double ef = fixed_ef > 0 ? fixed_ef : kind.ef;
  double graph_ns = infinite;
  if (parts_.graph && ef > 0 && share >= kMinWalkShare) {
    const double widened = std::max<double>(ef, query.k + ef / 2) / share;
    // Where a collection or query fixes ef, it asks for the graph.
    graph_ns = fixed_ef > 0 && query.kind == QueryKind::kImage
                   ? 0
                   : kind.walk_ns * widened / std::max(1.0f, kind.ef);
    ef = widened;
  }

  std::vector<Neighbor> found;
  if (graph_ns < lists_ns && graph_ns < allowed_ns) {
    Collector collector(data_, query, ErrorBound::kLikely);
    const Graph::Met met =
        parts_.graph->Walk(data_, static_cast<int>(std::min<double>(ef, kMaxEf)), collector);
    if (met.allowed >= kMinMetShare * share * met.positions) found = collector.Finish();
  }
  if (found.size() < wanted && allowed_ns > lists_ns) {
    Collector collector(data_, query, ErrorBound::kLikely);
    bool trusted = true;
    if (masked) {
      trusted = lists.ProbeMasked(data_, probes, share, collector);
    } else {
      // Where the probes are given, all lists are ranked.
      const uint32_t considered =
          fixed_probes > 0 ? lists.size() : Tuning::Considered(kind, probes, lists.size());
      lists.Probe(data_, probes, considered, collector);
    }
    if (trusted) found = collector.Finish();
  }
  if (found.size() >= wanted) return found;
  // Few allowed, a mask that follows the score, or fewer found than there are.
  return std::move(Scan(data_, {&query, 1}, ErrorBound::kLikely)[0]);
}

std::vector<Neighbor> CodedIndex::Search(const AnnQuery& query) const {
  if (!ScansAll(query)) return Approximate(query);
  return std::move(Scan(data_, {&query, 1}, ErrorBound::kProved)[0]);
}

std::vector<std::vector<Neighbor>> CodedIndex::SearchBatch(
    absl::Span<const AnnQuery> queries) const {
  std::vector<std::vector<Neighbor>> results(queries.size());
  std::vector<AnnQuery> scanned;
  std::vector<size_t> at;
  for (size_t i = 0; i < queries.size(); ++i) {
    if (ScansAll(queries[i])) {
      scanned.push_back(queries[i]);
      at.push_back(i);
    } else {
      results[i] = Approximate(queries[i]);
    }
  }
  std::vector<std::vector<Neighbor>> found = Scan(data_, scanned, ErrorBound::kProved);
  for (size_t i = 0; i < at.size(); ++i) results[at[i]] = std::move(found[i]);
  return results;
}

absl::Status CodedIndex::Save(ByteSink& sink) const {
  WriteValue(sink, kCodedMagic);
  WriteValue(sink, kFormat);
  WriteValue(sink, static_cast<uint32_t>(parts_.kind));
  WriteValue(sink, rows());
  WriteValue(sink, static_cast<uint32_t>(dimension()));
  WriteValue(sink, static_cast<uint32_t>(parts_.fixed_ef));
  WriteValue(sink, static_cast<uint32_t>(parts_.fixed_probes));
  parts_.codes.Save(sink);
  if (parts_.lists) {
    WriteArray(sink, parts_.layout.order());
    parts_.lists->Save(sink);
    parts_.tuning.Save(sink);
  }
  if (parts_.graph) parts_.graph->Save(sink);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<AnnIndex>> CodedIndex::Load(
    ByteSource& source, std::shared_ptr<const VectorSource> vectors) {
  uint32_t format, kind, rows, dimension, fixed_ef, fixed_probes;
  if (!ReadValue(source, format) || !ReadValue(source, kind) || !ReadValue(source, rows) ||
      !ReadValue(source, dimension) || !ReadValue(source, fixed_ef) ||
      !ReadValue(source, fixed_probes)) {
    return DamagedIndex("its header is cut short");
  }
  if (format != kFormat) return DamagedIndex(absl::StrCat("unknown format ", format));
  if (rows != vectors->rows() || dimension != static_cast<uint32_t>(vectors->dimension())) {
    return DamagedIndex(absl::StrCat(rows, " rows of ", dimension, " values, but the vectors are ",
                                     vectors->rows(), " of ", vectors->dimension()));
  }
  IndexParts parts;
  parts.kind = static_cast<IndexKind>(kind);
  if ((parts.kind != IndexKind::kFlat && parts.kind != IndexKind::kHnsw &&
       parts.kind != IndexKind::kIvf) ||
      fixed_ef > kMaxEf || fixed_probes > kMaxProbes) {
    return DamagedIndex("impossible settings");
  }
  parts.fixed_ef = static_cast<int>(fixed_ef);
  parts.fixed_probes = static_cast<int>(fixed_probes);
  try {
    if (!parts.codes.Load(source, rows, static_cast<int>(dimension))) return DamagedIndex("codes");
    if (parts.kind != IndexKind::kFlat) {
      std::vector<uint32_t> order;
      if (!ReadArray(source, rows, order) || !IsPermutation(order))
        return DamagedIndex("row order");
      parts.layout = Layout(std::move(order));
      if (!parts.lists.emplace().Load(source, rows, static_cast<int>(dimension))) {
        return DamagedIndex("lists");
      }
      if (!parts.tuning.Load(source)) return DamagedIndex("tuning");
    }
    if (parts.kind == IndexKind::kHnsw && !parts.graph.emplace().Load(source, rows)) {
      return DamagedIndex("graph");
    }
  } catch (const std::bad_alloc&) {
    return Error(absl::StatusCode::kResourceExhausted, "OUT_OF_MEMORY",
                 absl::StrCat("no memory for an index of ", rows, " rows"));
  }
  return std::make_unique<CodedIndex>(std::move(vectors), std::move(parts));
}

}  // namespace imagesearch::index
