// Ranking and reading inverted lists.
#include "index/ann/lists.h"

#include <algorithm>
#include <cmath>

#include "index/ann/byte_stream.h"

namespace imagesearch::index {
namespace {

constexpr size_t kBlock = Collector::kMaxBlock;
constexpr uint32_t kMaxLists = 65'536;
// Fewer allowed rows than this part of what was expected is no accident.
constexpr double kMinMetShare = 0.7;

bool AreOffsets(const std::vector<uint32_t>& offsets, uint32_t end) {
  return offsets.front() == 0 && offsets.back() == end &&
         std::is_sorted(offsets.begin(), offsets.end());
}

}  // namespace

bool MaskFollowsScore(double share, uint64_t read, uint64_t allowed) {
  const double expected = share * static_cast<double>(read), met = static_cast<double>(allowed);
  return met < kMinMetShare * expected && met < expected - 3 * std::sqrt(expected);
}

Lists::Lists(const Clusters& clusters, int dimension)
    : group_offsets_(clusters.group_offsets), offsets_(clusters.offsets) {
  const MatrixSource centroids(clusters.centroids, dimension);
  centroids_ = EncodedRows::Encode(centroids, MeanOf(centroids, 1), {}, 1);
  const MatrixSource groups(clusters.group_centroids, dimension);
  groups_ = EncodedRows::Encode(groups, MeanOf(groups, 1), {}, 1);
}

uint64_t Lists::memory_bytes() const {
  return centroids_.memory_bytes() + groups_.memory_bytes() +
         (offsets_.size() + group_offsets_.size()) * sizeof(uint32_t);
}

// A query's code is the same whatever mean the rows are coded without, and its product with that
// mean is the same for all of them: so the code of the collector's query serves here too.
std::vector<Lists::Scored> Lists::Score(const EncodedQuery& query, uint32_t considered) const {
  std::vector<Scored> scored;
  const auto score = [&](const EncodedRows& rows, uint32_t begin, uint32_t end) {
    std::vector<int32_t> dots(end - begin);
    Simd().dot_rows(rows.code(begin), rows.stride(), dots.size(), query.code.data(), dots.data());
    for (uint32_t i = begin; i < end; ++i) {
      scored.push_back({rows.scales()[i] * static_cast<float>(dots[i - begin] - query.offset), i});
    }
  };
  if (considered >= size() / 2) {
    scored.reserve(size());
    score(centroids_, 0, size());
    return scored;
  }
  score(groups_, 0, groups());
  std::vector<Scored> groups = std::move(scored);
  scored.clear();
  std::sort(groups.begin(), groups.end(),
            [](const Scored& a, const Scored& b) { return a.score > b.score; });
  for (const Scored& group : groups) {
    if (scored.size() >= considered) break;
    score(centroids_, group_offsets_[group.list], group_offsets_[group.list + 1]);
  }
  return scored;
}

std::vector<uint32_t> Lists::Rank(const EncodedQuery& query, uint32_t considered) const {
  std::vector<Scored> scored = Score(query, considered);
  std::sort(scored.begin(), scored.end(),
            [](const Scored& a, const Scored& b) { return a.score > b.score; });
  std::vector<uint32_t> ranked(scored.size());
  for (size_t i = 0; i < ranked.size(); ++i) ranked[i] = scored[i].list;
  return ranked;
}

std::vector<uint32_t> Lists::Nearest(const EncodedQuery& query, uint32_t count,
                                     uint32_t considered) const {
  std::vector<Scored> scored = Score(query, considered);
  if (count < scored.size()) {
    std::nth_element(scored.begin(), scored.begin() + count, scored.end(),
                     [](const Scored& a, const Scored& b) { return a.score > b.score; });
    scored.resize(count);
  }
  std::vector<uint32_t> lists;
  for (const Scored& one : scored) lists.push_back(one.list);
  return lists;
}

std::vector<Lists::Scored> Lists::NearestScored(const EncodedQuery& query, uint32_t probes,
                                                uint32_t considered) const {
  std::vector<Scored> scored = Score(query, considered);
  probes = std::min(probes, static_cast<uint32_t>(scored.size()));
  std::partial_sort(scored.begin(), scored.begin() + probes, scored.end(),
                    [](const Scored& a, const Scored& b) { return a.score > b.score; });
  scored.resize(probes);
  for (Scored& list : scored) list.score = query.base + query.scale * list.score;
  return scored;
}

void Lists::DecodeCentroid(uint32_t list, float* out) const {
  const uint8_t* code = centroids_.code(list);
  for (size_t j = 0; j < centroids_.mean().size(); ++j) {
    out[j] = centroids_.mean()[j] + centroids_.scales()[list] * static_cast<float>(code[j] - 128);
  }
}

uint32_t Lists::ListOf(uint32_t position) const {
  return static_cast<uint32_t>(std::upper_bound(offsets_.begin(), offsets_.end(), position) -
                               offsets_.begin() - 1);
}

void Lists::Probe(const SearchData& data, uint32_t probes, uint32_t considered,
                  Collector& collector) const {
  std::vector<Scored> scored = Score(collector.encoded(), considered);
  probes = std::min(probes, static_cast<uint32_t>(scored.size()));
  const auto nearer = [](const Scored& a, const Scored& b) { return a.score > b.score; };
  if (probes < scored.size()) {
    std::nth_element(scored.begin(), scored.begin() + probes, scored.end(), nearer);
  }
  const EncodedRows& codes = data.codes;
  const SimdKernels& simd = Simd();
  int32_t dots[kBlock];
  for (uint32_t i = 0; i < probes; ++i) {
    if (i + 1 < probes) {
      const uint32_t next = scored[i + 1].list;
      FetchStart(codes.code(offsets_[next]), codes.stride(), offsets_[next + 1] - offsets_[next]);
    }
    const uint32_t end = offsets_[scored[i].list + 1];
    for (uint32_t first = offsets_[scored[i].list]; first < end;) {
      const uint32_t n = std::min<uint32_t>(kBlock, end - first);
      simd.dot_rows(codes.code(first), codes.stride(), n, collector.encoded().code.data(), dots);
      collector.AddRange(first, n, dots);
      first += n;
    }
  }
}

bool Lists::ProbeMasked(const SearchData& data, uint32_t probes, double share,
                        Collector& collector) const {
  std::vector<Scored> scored = Score(collector.encoded(), size());
  const auto farther = [](const Scored& a, const Scored& b) { return a.score < b.score; };
  std::make_heap(scored.begin(), scored.end(), farther);
  const EncodedRows& codes = data.codes;
  const RowMask& mask = collector.query().mask;
  const SimdKernels& simd = Simd();
  uint32_t positions[kBlock];
  int32_t dots[kBlock];
  size_t count = 0;
  uint32_t read = 0, allowed = 0;
  const auto flush = [&] {
    allowed += static_cast<uint32_t>(count);
    simd.dot_gather(codes.codes(), codes.stride(), positions, count,
                    collector.encoded().code.data(), dots);
    collector.AddPositions(positions, count, dots);
    count = 0;
  };
  const auto follows_score = [&] { return MaskFollowsScore(share, read, allowed); };
  probes = std::min(probes, size());
  for (uint32_t i = 0; i < probes; ++i) {
    std::pop_heap(scored.begin(), scored.end() - i, farther);
    const uint32_t list = scored[size() - 1 - i].list;
    for (uint32_t position = offsets_[list]; position < offsets_[list + 1]; ++position) {
      positions[count] = position;
      count += mask.Allows(data.layout.RowAt(position)) ? 1 : 0;
      if (count == kBlock) flush();
    }
    read += offsets_[list + 1] - offsets_[list];
    // The very nearest tell more: a mask may leave out just these.
    if (i == probes / 8) {
      if (count > 0) flush();
      if (follows_score()) return false;
    }
  }
  if (count > 0) flush();
  return !follows_score();
}

void Lists::Save(ByteSink& sink) const {
  WriteValue(sink, size());
  WriteValue(sink, groups());
  WriteArray(sink, offsets_);
  WriteArray(sink, group_offsets_);
  centroids_.Save(sink);
  groups_.Save(sink);
}

bool Lists::Load(ByteSource& source, uint32_t rows, int dimension) {
  uint32_t lists, groups;
  if (!ReadValue(source, lists) || !ReadValue(source, groups) || lists > kMaxLists ||
      lists > rows || groups > lists || !ReadArray(source, lists + 1, offsets_) ||
      !ReadArray(source, groups + 1, group_offsets_)) {
    return false;
  }
  return AreOffsets(offsets_, rows) && AreOffsets(group_offsets_, lists) &&
         centroids_.Load(source, lists, dimension) && groups_.Load(source, groups, dimension);
}

}  // namespace imagesearch::index
