// Numbers of one field in order, for range filters: cheap to insert into at any time.
#ifndef IMAGESEARCH_INDEX_FILTER_SORTED_COLUMN_H_
#define IMAGESEARCH_INDEX_FILTER_SORTED_COLUMN_H_

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace imagesearch::index {

// A set of (value, slot), ordered by value, then slot, in chunks of at most kChunk entries: an
// insertion moves at most one chunk. T has a total order (no NaN). Not thread-safe.
template <typename T>
class SortedColumn {
 public:
  // Number of entries before a place in the order.
  using Rank = size_t;

  void Add(T value, uint32_t slot) {
    const Entry entry{value, slot};
    if (chunks_.empty()) {
      chunks_.push_back(std::make_unique<Chunk>(1, entry));
      size_ = 1;
      return;
    }
    size_t c = ChunkOf(entry);
    Chunk* chunk = chunks_[c].get();
    auto at = std::lower_bound(chunk->begin(), chunk->end(), entry);
    if (at != chunk->end() && !(entry < *at)) return;
    if (chunk->size() == kChunk) {
      auto upper = std::make_unique<Chunk>(chunk->begin() + kChunk / 2, chunk->end());
      chunk->resize(kChunk / 2);
      chunks_.insert(chunks_.begin() + c + 1, std::move(upper));
      if (!(entry < chunks_[c + 1]->front())) ++c;
      chunk = chunks_[c].get();
      at = std::lower_bound(chunk->begin(), chunk->end(), entry);
    }
    chunk->insert(at, entry);
    ++size_;
  }

  void Remove(T value, uint32_t slot) {
    if (chunks_.empty()) return;
    const Entry entry{value, slot};
    const size_t c = ChunkOf(entry);
    Chunk& chunk = *chunks_[c];
    const auto at = std::lower_bound(chunk.begin(), chunk.end(), entry);
    if (at == chunk.end() || entry < *at) return;
    chunk.erase(at);
    --size_;
    if (chunk.empty()) chunks_.erase(chunks_.begin() + c);
  }

  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  uint64_t memory_bytes() const { return chunks_.size() * (kChunk * sizeof(Entry) * 3 / 4); }

  // Entries with a value below `value`, or, with `included`, at most `value`.
  Rank RankOf(T value, bool included) const {
    Rank rank = 0;
    for (const auto& chunk : chunks_) {
      const bool whole = included ? !(value < chunk->back().value) : chunk->back().value < value;
      if (!whole) {
        const auto at = std::partition_point(chunk->begin(), chunk->end(), [&](const Entry& entry) {
          return included ? !(value < entry.value) : entry.value < value;
        });
        return rank + (at - chunk->begin());
      }
      rank += chunk->size();
    }
    return rank;
  }

  // Calls visit(slot) for the entries of ranks [from, to).
  template <typename Visitor>
  void Visit(Rank from, Rank to, Visitor visit) const {
    Rank first = 0;  // of the chunk
    for (const auto& chunk : chunks_) {
      if (first >= to) return;
      const Rank last = first + chunk->size();
      for (Rank rank = std::max(first, from); rank < std::min(last, to); ++rank) {
        visit((*chunk)[rank - first].slot);
      }
      first = last;
    }
  }

  // Calls visit(value, slot) for all entries, in order.
  template <typename Visitor>
  void VisitAll(Visitor visit) const {
    for (const auto& chunk : chunks_) {
      for (const Entry& entry : *chunk) visit(entry.value, entry.slot);
    }
  }

 private:
  struct Entry {
    T value;
    uint32_t slot;
    friend bool operator<(const Entry& a, const Entry& b) {
      if (a.value < b.value) return true;
      if (b.value < a.value) return false;
      return a.slot < b.slot;
    }
  };
  using Chunk = std::vector<Entry>;
  static constexpr size_t kChunk = 1024;

  // The last chunk that starts at or before `entry`, or the first one.
  size_t ChunkOf(const Entry& entry) const {
    const auto after = std::partition_point(
        chunks_.begin(), chunks_.end(),
        [&](const std::unique_ptr<Chunk>& chunk) { return !(entry < chunk->front()); });
    return after == chunks_.begin() ? 0 : after - chunks_.begin() - 1;
  }

  std::vector<std::unique_ptr<Chunk>> chunks_;  // none is empty
  size_t size_ = 0;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_FILTER_SORTED_COLUMN_H_
