// The walk over the graph, and its stored form.
#include "index/ann/graph.h"

#include <algorithm>
#include <functional>

#include "index/ann/byte_stream.h"

namespace imagesearch::index {
namespace {

constexpr uint32_t kMaxLevels = 64;
constexpr uint32_t kMaxM = Collector::kMaxBlock / 2;

// One thread's working memory, kept between searches. `visited` is all zero between them.
struct Scratch {
  struct Entry {
    float score;
    uint32_t position;
    bool expanded;
  };
  std::vector<uint64_t> visited;
  std::vector<uint32_t> touched;  // words of `visited` to clear
  std::vector<Entry> pool;        // best first

  void Prepare(uint32_t rows, size_t ef) {
    visited.resize(std::max(visited.size(), (size_t{rows} + 63) / 64));
    pool.clear();
    pool.reserve(ef + 1);
  }
  // true the first time.
  bool Visit(uint32_t position) {
    uint64_t& word = visited[position >> 6];
    const uint64_t bit = uint64_t{1} << (position & 63);
    if (word & bit) return false;
    if (word == 0) touched.push_back(position >> 6);
    word |= bit;
    return true;
  }
  void Clear() {
    for (uint32_t word : touched) visited[word] = 0;
    touched.clear();
  }
};

// Leaves the scratch clean however a walk ends.
struct ClearAtEnd {
  Scratch& scratch;
  ~ClearAtEnd() { scratch.Clear(); }
};

Scratch& ThreadScratch() {
  thread_local Scratch scratch;
  return scratch;
}

}  // namespace

const uint32_t* Graph::UpperLinks(const UpperLevel& level, uint32_t node) const {
  const auto found = std::lower_bound(level.nodes.begin(), level.nodes.end(), node);
  if (found == level.nodes.end() || *found != node) return nullptr;
  return level.links.data() + static_cast<size_t>(found - level.nodes.begin()) * m_;
}

Graph::Met Graph::Walk(const SearchData& data, int ef, Collector& collector) const {
  Met met;
  if (rows_ == 0) return met;
  const EncodedRows& codes = data.codes;
  const EncodedQuery& query = collector.encoded();
  const RowMask& mask = collector.query().mask;
  const SimdKernels& simd = Simd();
  const float* scales = codes.scales();
  uint32_t fresh[2 * kMaxM];
  int32_t dots[2 * kMaxM];
  // Any measure that orders positions as their scores do will serve.
  const auto score = [&](uint32_t position, int32_t dot) {
    return scales[position] * static_cast<float>(dot - query.offset);
  };

  uint32_t best = entry_;
  simd.dot_gather(codes.codes(), codes.stride(), &best, 1, query.code.data(), dots);
  float best_score = score(best, dots[0]);
  for (size_t level = upper_.size(); level-- > 0;) {
    for (bool moved = true; moved;) {
      moved = false;
      const uint32_t* links = UpperLinks(upper_[level], best);
      if (links == nullptr) break;
      size_t n = 0;
      while (n < m_ && links[n] != kNone) ++n;
      simd.dot_gather(codes.codes(), codes.stride(), links, n, query.code.data(), dots);
      for (size_t i = 0; i < n; ++i) {
        const float s = score(links[i], dots[i]);
        if (s > best_score) {
          best = links[i];
          best_score = s;
          moved = true;
        }
      }
    }
  }

  Scratch& scratch = ThreadScratch();
  const ClearAtEnd clear{scratch};
  const size_t limit = static_cast<size_t>(std::max(ef, 1));
  scratch.Prepare(rows_, limit);
  std::vector<Scratch::Entry>& pool = scratch.pool;
  size_t first = 0;  // entries before it are expanded
  // Puts the `n` positions with scores in `dots` where they belong.
  const auto take = [&](size_t n) {
    for (size_t i = 0; i < n; ++i) {
      const float s = score(fresh[i], dots[i]);
      if (pool.size() >= limit) {
        if (s <= pool.back().score) continue;
        pool.pop_back();
      }
      const auto at = std::upper_bound(
          pool.begin(), pool.end(), s,
          [](float value, const Scratch::Entry& entry) { return value > entry.score; });
      first = std::min(first, static_cast<size_t>(at - pool.begin()));
      pool.insert(at, {s, fresh[i], false});
    }
    met.positions += static_cast<uint32_t>(n);
    if (mask.words != nullptr) {
      size_t kept = 0;
      for (size_t i = 0; i < n; ++i) {
        if (!mask.Allows(data.layout.RowAt(fresh[i]))) continue;
        fresh[kept] = fresh[i];
        dots[kept++] = dots[i];
      }
      n = kept;
    }
    met.allowed += static_cast<uint32_t>(n);
    if (n > 0) collector.AddPositions(fresh, n, dots);
  };

  scratch.Visit(best);
  fresh[0] = best;
  simd.dot_gather(codes.codes(), codes.stride(), fresh, 1, query.code.data(), dots);
  take(1);
  const size_t degree = 2 * size_t{m_};
  while (true) {
    while (first < pool.size() && pool[first].expanded) ++first;
    if (first == pool.size()) break;
    pool[first].expanded = true;
    const uint32_t* links = links_.data() + pool[first].position * degree;
    size_t n = 0;
    for (size_t i = 0; i < degree && links[i] != kNone; ++i) {
      if (scratch.Visit(links[i])) fresh[n++] = links[i];
    }
    if (n == 0) continue;
    simd.dot_gather(codes.codes(), codes.stride(), fresh, n, query.code.data(), dots);
    take(n);
  }
  return met;
}

uint64_t Graph::memory_bytes() const {
  uint64_t bytes = links_.size() * sizeof(uint32_t);
  for (const UpperLevel& level : upper_) {
    bytes += (level.nodes.size() + level.links.size()) * sizeof(uint32_t);
  }
  return bytes;
}

void Graph::Save(ByteSink& sink) const {
  WriteValue(sink, m_);
  WriteValue(sink, entry_);
  WriteValue(sink, static_cast<uint32_t>(upper_.size()));
  for (const UpperLevel& level : upper_) {
    WriteValue(sink, static_cast<uint32_t>(level.nodes.size()));
    WriteArray(sink, level.nodes);
    WriteArray(sink, level.links);
  }
  WriteArray(sink, links_);
}

bool Graph::Load(ByteSource& source, uint32_t rows) {
  rows_ = rows;
  uint32_t levels;
  if (!ReadValue(source, m_) || !ReadValue(source, entry_) || !ReadValue(source, levels)) {
    return false;
  }
  if (m_ == 0 || m_ > kMaxM || levels > kMaxLevels || (rows > 0 && entry_ >= rows)) return false;
  const auto linked = [&](uint32_t link) { return link == kNone || link < rows; };
  for (uint32_t i = 0; i < levels; ++i) {
    UpperLevel level;
    uint32_t nodes;
    if (!ReadValue(source, nodes) || nodes > rows || !ReadArray(source, nodes, level.nodes) ||
        !ReadArray(source, uint64_t{nodes} * m_, level.links)) {
      return false;
    }
    if (std::adjacent_find(level.nodes.begin(), level.nodes.end(), std::greater_equal<>()) !=
            level.nodes.end() ||
        (nodes > 0 && level.nodes.back() >= rows) ||
        !std::all_of(level.links.begin(), level.links.end(), linked)) {
      return false;
    }
    upper_.push_back(std::move(level));
  }
  return ReadArray(source, uint64_t{rows} * 2 * m_, links_) &&
         std::all_of(links_.begin(), links_.end(), linked);
}

}  // namespace imagesearch::index
