// Building, search paths, saving and loading of lists of product-quantised codes.
#include "index/ann/pq_index.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/ann/byte_stream.h"
#include "index/ann/cluster.h"
#include "index/ann/codes.h"
#include "index/ann/float_scan.h"

namespace imagesearch::index {
namespace {

constexpr uint32_t kFormat = 1;
constexpr int kMaxProbes = 65'536;
constexpr uint32_t kMaxDimension = 65'536;

absl::Status Cancelled() {
  return Error(absl::StatusCode::kCancelled, "CANCELLED", "index build cancelled");
}

}  // namespace

PqIndex::PqIndex(std::shared_ptr<const VectorSource> vectors, PqParts parts)
    : vectors_(std::move(vectors)),
      parts_(std::move(parts)),
      guide_(
          std::make_shared<ListGuide>(std::move(parts_.lists), parts_.tuning.lists, dimension())),
      data_{*vectors_, parts_.codes, guide_->lists(), parts_.order} {}

absl::StatusOr<std::unique_ptr<AnnIndex>> PqIndex::Build(
    std::shared_ptr<const VectorSource> vectors, const AnnBuildOptions& options, int pq_bytes) {
  const std::atomic<bool>* cancelled = options.cancelled.get();
  const std::vector<float> mean = MeanOf(*vectors, options.threads);
  ClusterOptions cluster;
  cluster.lists = static_cast<uint32_t>(options.index.ivf_nlist);
  cluster.threads = options.threads;
  cluster.cancelled = cancelled;
  absl::StatusOr<Clusters> clusters = ClusterRows(*vectors, mean, cluster);
  if (!clusters.ok()) return clusters.status();
  PqParts parts;
  parts.lists = Lists(*clusters, vectors->dimension());
  Layout layout(std::move(clusters->order));
  PqOptions codes;
  codes.pq_bytes = pq_bytes;
  codes.image_mean = mean;
  codes.text_sample = options.text_sample;
  codes.threads = options.threads;
  codes.cancelled = cancelled;
  if (!parts.codes.Build(*vectors, layout, parts.lists, codes)) return Cancelled();
  TuningOptions tuning;
  if (options.index.target_recall > 0) tuning.target_recall = options.index.target_recall;
  tuning.text_sample = options.text_sample;
  tuning.threads = options.threads;
  tuning.cancelled = cancelled;
  const PqData data = {*vectors, parts.codes, parts.lists, layout.order()};
  if (!TunePq(data, layout, mean, tuning, parts.tuning)) return Cancelled();
  parts.order = std::move(layout).TakeOrder();
  parts.fixed_probes = options.index.ivf_nprobe;
  return std::make_unique<PqIndex>(std::move(vectors), std::move(parts));
}

uint64_t PqIndex::memory_bytes() const {
  return parts_.codes.memory_bytes() + parts_.order.size() * sizeof(uint32_t) +
         guide_->memory_bytes();
}

std::vector<Neighbor> PqIndex::Approximate(const AnnQuery& query) const {
  const uint32_t n = rows(), lists = data_.lists.size();
  const bool image = query.kind == QueryKind::kImage;
  // A mix of text and image lies between them; what serves text serves it.
  const KindTuning& kind = image ? parts_.tuning.lists.image : parts_.tuning.lists.text;
  const float slack =
      PqTuning::Slack(image ? parts_.tuning.image_slack : parts_.tuning.text_slack, query.k);
  const bool masked = query.mask.words != nullptr;
  const double allowed = masked ? std::min(query.mask.count, n) : n;
  const double share = n == 0 ? 1 : std::max(allowed, 1.0) / n;
  const size_t wanted = std::min<size_t>(static_cast<size_t>(query.k), n);
  const int fixed = query.effort > 0 ? query.effort : parts_.fixed_probes;
  // The nearest k of a part of the rows lie among the nearest k / part of all.
  const uint32_t probes =
      fixed > 0 ? std::min(static_cast<uint32_t>(fixed), lists)
                : Tuning::Probes(kind, Tuning::Depth(query.k, query.part) / share, lists);

  if (masked) {
    const double lists_ns = kind.probe_ns * std::max(1.0f, probes / kind.probes[0]);
    if (allowed * parts_.tuning.lists.gather_ns < lists_ns) {
      return FloatScanAllowed(*vectors_, query);
    }
  }
  std::vector<Neighbor> found;
  PqSearch search(data_, query, slack);
  bool trusted = true;
  if (masked) {
    trusted = search.ProbeMasked(probes, share);
  } else {
    // Where the probes are given, all lists are ranked.
    search.Probe(probes, fixed > 0 ? lists : Tuning::Considered(kind, probes, lists));
  }
  if (trusted) found = search.Finish();
  if (found.size() >= wanted || probes >= lists) return trusted ? found : search.Finish();
  // A mask that follows the score, or fewer found than there are.
  PqSearch whole(data_, query, slack);
  whole.Probe(lists, lists);
  return whole.Finish();
}

std::vector<Neighbor> PqIndex::Search(const AnnQuery& query) const {
  return std::move(SearchBatch({&query, 1})[0]);
}

std::vector<std::vector<Neighbor>> PqIndex::SearchBatch(absl::Span<const AnnQuery> queries) const {
  std::vector<std::vector<Neighbor>> results(queries.size());
  std::vector<AnnQuery> exact;
  std::vector<size_t> at;
  for (size_t i = 0; i < queries.size(); ++i) {
    if (queries[i].exact) {
      exact.push_back(queries[i]);
      at.push_back(i);
    } else {
      results[i] = Approximate(queries[i]);
    }
  }
  if (exact.empty()) return results;
  std::vector<std::vector<Neighbor>> found = FloatScan(*vectors_, exact, 1, nullptr);
  for (size_t i = 0; i < at.size(); ++i) results[at[i]] = std::move(found[i]);
  return results;
}

absl::Status PqIndex::Save(ByteSink& sink) const {
  WriteValue(sink, kPqMagic);
  WriteValue(sink, kFormat);
  WriteValue(sink, rows());
  WriteValue(sink, static_cast<uint32_t>(dimension()));
  WriteValue(sink, static_cast<uint32_t>(pq_bytes()));
  WriteValue(sink, static_cast<uint32_t>(parts_.fixed_probes));
  WriteArray(sink, parts_.order);
  data_.lists.Save(sink);
  parts_.codes.Save(sink);
  parts_.tuning.Save(sink);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<AnnIndex>> PqIndex::Load(
    ByteSource& source, std::shared_ptr<const VectorSource> vectors) {
  uint32_t format, rows, dimension, pq_bytes, fixed_probes;
  if (!ReadValue(source, format) || !ReadValue(source, rows) || !ReadValue(source, dimension) ||
      !ReadValue(source, pq_bytes) || !ReadValue(source, fixed_probes)) {
    return DamagedIndex("its header is cut short");
  }
  if (format != kFormat) return DamagedIndex(absl::StrCat("unknown format ", format));
  if (rows != vectors->rows() || dimension != static_cast<uint32_t>(vectors->dimension())) {
    return DamagedIndex(absl::StrCat(rows, " rows of ", dimension, " values, but the vectors are ",
                                     vectors->rows(), " of ", vectors->dimension()));
  }
  if (dimension > kMaxDimension || pq_bytes == 0 || pq_bytes > uint32_t{kMaxPqBytes} ||
      dimension % pq_bytes != 0 || fixed_probes > kMaxProbes) {
    return DamagedIndex("impossible settings");
  }
  PqParts parts;
  parts.fixed_probes = static_cast<int>(fixed_probes);
  const int d = static_cast<int>(dimension);
  try {
    if (!ReadArray(source, rows, parts.order) || !IsPermutation(parts.order)) {
      return DamagedIndex("row order");
    }
    if (!parts.lists.Load(source, rows, d)) return DamagedIndex("lists");
    if (!parts.codes.Load(source, rows, d, static_cast<int>(pq_bytes), parts.lists.size())) {
      return DamagedIndex("codes");
    }
    if (!parts.tuning.Load(source)) return DamagedIndex("tuning");
  } catch (const std::bad_alloc&) {
    return Error(absl::StatusCode::kResourceExhausted, "OUT_OF_MEMORY",
                 absl::StrCat("no memory for an index of ", rows, " rows"));
  }
  return std::make_unique<PqIndex>(std::move(vectors), std::move(parts));
}

}  // namespace imagesearch::index
