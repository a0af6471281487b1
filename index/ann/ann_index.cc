// The factories of the nearest-neighbour index.
#include "index/ann/ann_index.h"

#include <algorithm>
#include <exception>
#include <new>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "index/ann/budget.h"
#include "index/ann/byte_stream.h"
#include "index/ann/coded_index.h"
#include "index/ann/pq_index.h"

namespace imagesearch::index {
namespace {

// kAuto: so few rows are scanned in so little time that the answer may as well be exact.
constexpr uint64_t kMinListedRows = 8192;
// kAuto: below this a scan of codes takes less than the ranking of lists would save. What is read
// beside other parts is scanned up to here only.
constexpr uint64_t kMinPartListedRows = 1024;
// kAuto: when image queries take longer than this through the lists of this many rows, a graph is
// added for them.
constexpr float kGraphPaysNs = 150'000;
constexpr uint32_t kMinGraphRows = 50'000;

absl::Status CheckRange(absl::string_view name, int value, int low, int high) {
  if (value == 0 || (value >= low && value <= high)) return absl::OkStatus();
  return InvalidArgument("BAD_INDEX_OPTION", absl::StrCat(name, " is ", value, "; it must be ", low,
                                                          " to ", high, ", or 0 for the default"));
}

absl::Status Check(const IndexOptions& options, int dimension) {
  for (const absl::Status& status :
       {CheckRange("hnsw_m", options.hnsw_m, 4, 64),
        CheckRange("hnsw_ef_construction", options.hnsw_ef_construction, 8, 2000),
        CheckRange("hnsw_ef_search", options.hnsw_ef_search, 1, 10'000),
        CheckRange("ivf_nlist", options.ivf_nlist, 1, 65'536),
        CheckRange("ivf_nprobe", options.ivf_nprobe, 1, 65'536)}) {
    if (!status.ok()) return status;
  }
  if (!(options.target_recall >= 0 && options.target_recall <= 1)) {
    return InvalidArgument(
        "BAD_INDEX_OPTION",
        absl::StrCat("target_recall is ", options.target_recall,
                     "; it must be above 0 and at most 1, or 0 for the default"));
  }
  if (options.pq_bytes != 0) {
    const std::vector<int> sizes = PqSizes(dimension);
    if (std::find(sizes.begin(), sizes.end(), options.pq_bytes) == sizes.end()) {
      return InvalidArgument("BAD_INDEX_OPTION",
                             absl::StrCat("pq_bytes is ", options.pq_bytes, "; it must be one of ",
                                          absl::StrJoin(sizes, ", "), ", or 0"));
    }
  }
  return absl::OkStatus();
}

absl::Status Cancelled() {
  return Error(absl::StatusCode::kCancelled, "CANCELLED", "index build cancelled");
}

absl::StatusOr<Graph> BuildGraph(const EncodedRows& codes, const AnnBuildOptions& options) {
  GraphOptions graph;
  if (options.index.hnsw_m > 0) graph.m = options.index.hnsw_m;
  if (options.index.hnsw_ef_construction > 0) {
    graph.ef_construction = options.index.hnsw_ef_construction;
  }
  graph.threads = options.threads;
  graph.cancelled = options.cancelled.get();
  return Graph::Build(codes, graph);
}

// kAuto: whether so few rows are scanned.
bool AreFew(uint64_t rows, const AnnBuildOptions& options) {
  return rows < kMinPartListedRows || rows + options.rows_beside < kMinListedRows;
}

// What the collection's budget leaves to these rows: their share of it.
BudgetChoice ChooseByMemory(const VectorSource& vectors, const AnnBuildOptions& options) {
  BudgetChoice choice;
  if (options.index.kind == IndexKind::kIvf) choice.pq_bytes = options.index.pq_bytes;
  if (options.index.kind != IndexKind::kAuto || options.index.memory_bytes == 0) return choice;
  const uint32_t rows = vectors.rows();
  const double share =
      rows == 0 ? 1 : rows / (static_cast<double>(rows) + static_cast<double>(options.rows_beside));
  const int links = options.index.hnsw_m > 0 ? options.index.hnsw_m : GraphOptions().m;
  return ChooseForBudget(
      static_cast<uint64_t>(share * static_cast<double>(options.index.memory_bytes)), rows,
      vectors.dimension(), AreFew(rows, options), static_cast<uint32_t>(options.index.ivf_nlist),
      links);
}

// `with_graph`: kAuto may add one.
absl::StatusOr<IndexParts> BuildParts(const VectorSource& vectors, const AnnBuildOptions& options,
                                      bool with_graph) {
  IndexParts parts;
  parts.kind = options.index.kind;
  if (parts.kind == IndexKind::kAuto) {
    parts.kind = AreFew(vectors.rows(), options) ? IndexKind::kFlat : IndexKind::kIvf;
  }
  std::vector<float> mean = MeanOf(vectors, options.threads);
  if (options.cancelled != nullptr && *options.cancelled) return Cancelled();
  if (parts.kind == IndexKind::kFlat) {
    parts.codes = EncodedRows::Encode(vectors, std::move(mean), {}, options.threads);
    return parts;
  }

  ClusterOptions cluster;
  cluster.lists = static_cast<uint32_t>(options.index.ivf_nlist);
  cluster.threads = options.threads;
  cluster.cancelled = options.cancelled.get();
  absl::StatusOr<Clusters> clusters = ClusterRows(vectors, mean, cluster);
  if (!clusters.ok()) return clusters.status();
  parts.lists.emplace(*clusters, vectors.dimension());
  parts.layout = Layout(std::move(clusters->order));
  parts.codes =
      EncodedRows::Encode(vectors, std::move(mean), parts.layout.order(), options.threads);
  const SearchData data = {vectors, parts.codes, parts.layout};

  TuningOptions tuning;
  if (options.index.target_recall > 0) tuning.target_recall = options.index.target_recall;
  tuning.text_sample = options.text_sample;
  tuning.threads = options.threads;
  tuning.cancelled = options.cancelled.get();
  if (parts.kind == IndexKind::kIvf && !Tune(data, *parts.lists, nullptr, tuning, parts.tuning)) {
    return Cancelled();
  }
  const bool chooses = options.index.kind == IndexKind::kAuto;
  if (chooses && with_graph && vectors.rows() >= kMinGraphRows &&
      parts.tuning.image.probe_ns > kGraphPaysNs) {
    parts.kind = IndexKind::kHnsw;
  }
  if (parts.kind == IndexKind::kHnsw) {
    absl::StatusOr<Graph> graph = BuildGraph(parts.codes, options);
    if (!graph.ok()) return graph.status();
    parts.graph = *std::move(graph);
    if (!Tune(data, *parts.lists, &*parts.graph, tuning, parts.tuning)) return Cancelled();
    if (chooses && parts.tuning.image.ef == 0) {  // no walk is cheaper than the lists
      parts.graph.reset();
      parts.kind = IndexKind::kIvf;
    }
  }
  parts.fixed_ef = options.index.hnsw_ef_search;
  parts.fixed_probes = options.index.ivf_nprobe;
  return parts;
}

}  // namespace

std::vector<std::vector<Neighbor>> AnnIndex::SearchBatch(absl::Span<const AnnQuery> queries) const {
  std::vector<std::vector<Neighbor>> results;
  results.reserve(queries.size());
  for (const AnnQuery& query : queries) results.push_back(Search(query));
  return results;
}

absl::StatusOr<std::unique_ptr<AnnIndex>> BuildAnnIndex(std::shared_ptr<const VectorSource> vectors,
                                                        const AnnBuildOptions& options) {
  if (absl::Status status = Check(options.index, vectors->dimension()); !status.ok()) return status;
  const uint32_t rows = vectors->rows();
  try {
    const BudgetChoice choice = ChooseByMemory(*vectors, options);
    if (choice.pq_bytes > 0) return PqIndex::Build(std::move(vectors), options, choice.pq_bytes);
    absl::StatusOr<IndexParts> parts = BuildParts(*vectors, options, choice.graph);
    if (!parts.ok()) return parts.status();
    return std::make_unique<CodedIndex>(std::move(vectors), *std::move(parts));
  } catch (const std::bad_alloc&) {
    return Error(absl::StatusCode::kResourceExhausted, "OUT_OF_MEMORY",
                 absl::StrCat("no memory to build an index of ", rows, " rows"));
  } catch (const std::exception& e) {  // FAISS's included
    return Error(absl::StatusCode::kInternal, "INDEX_BUILD",
                 absl::StrCat("building an index of ", rows, " rows failed: ", e.what()));
  }
}

absl::StatusOr<std::unique_ptr<AnnIndex>> LoadAnnIndex(
    ByteSource& source, std::shared_ptr<const VectorSource> vectors) {
  uint32_t magic;
  if (!ReadValue(source, magic)) return DamagedIndex("its header is cut short");
  if (magic == kCodedMagic) return CodedIndex::Load(source, std::move(vectors));
  if (magic == kPqMagic) return PqIndex::Load(source, std::move(vectors));
  return DamagedIndex("it does not start as an index does");
}

}  // namespace imagesearch::index
