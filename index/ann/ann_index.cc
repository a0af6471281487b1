// The factories of the nearest-neighbour index.
#include "index/ann/ann_index.h"

#include <exception>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/ann/coded_index.h"

namespace imagesearch::index {
namespace {

absl::Status CheckRange(absl::string_view name, int value, int low, int high) {
  if (value == 0 || (value >= low && value <= high)) return absl::OkStatus();
  return InvalidArgument("BAD_INDEX_OPTION", absl::StrCat(name, " is ", value, "; it must be ", low,
                                                          " to ", high, ", or 0 for the default"));
}

absl::Status Check(const IndexOptions& options) {
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
  return absl::OkStatus();
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
  if (absl::Status status = Check(options.index); !status.ok()) return status;
  if (options.index.kind != IndexKind::kFlat && options.index.kind != IndexKind::kHnsw) {
    return InvalidArgument("BAD_INDEX_OPTION", "the kind to build must be FLAT or HNSW");
  }
  try {
    IndexParts parts;
    parts.kind = options.index.kind;
    parts.codes = EncodedRows::Encode(*vectors, {}, options.threads);
    if (options.cancelled != nullptr && *options.cancelled) {
      return Error(absl::StatusCode::kCancelled, "CANCELLED", "index build cancelled");
    }
    if (parts.kind == IndexKind::kHnsw) {
      GraphOptions graph;
      if (options.index.hnsw_m > 0) graph.m = options.index.hnsw_m;
      if (options.index.hnsw_ef_construction > 0) {
        graph.ef_construction = options.index.hnsw_ef_construction;
      }
      graph.threads = options.threads;
      graph.cancelled = options.cancelled.get();
      absl::StatusOr<Graph> built = Graph::Build(parts.codes, graph);
      if (!built.ok()) return built.status();
      parts.graph = *std::move(built);
      if (options.index.hnsw_ef_search > 0) parts.ef = options.index.hnsw_ef_search;
    }
    return std::make_unique<CodedIndex>(std::move(vectors), std::move(parts));
  } catch (const std::exception& e) {
    return Error(absl::StatusCode::kResourceExhausted, "INDEX_BUILD",
                 absl::StrCat("building the index failed: ", e.what()));
  }
}

absl::StatusOr<std::unique_ptr<AnnIndex>> LoadAnnIndex(
    ByteSource& source, std::shared_ptr<const VectorSource> vectors) {
  return CodedIndex::Load(source, std::move(vectors));
}

}  // namespace imagesearch::index
