// Inverted lists: rows of one list have neighbouring positions, and a query reads the lists whose
// centroids are nearest to it.
#ifndef IMAGESEARCH_INDEX_ANN_LISTS_H_
#define IMAGESEARCH_INDEX_ANN_LISTS_H_

#include <cstdint>
#include <vector>

#include "index/ann/cluster.h"
#include "index/ann/collector.h"

namespace imagesearch::index {

// Immutable after construction or Load. Thread-safe.
class Lists {
 public:
  Lists() = default;
  Lists(const Clusters& clusters, int dimension);

  uint32_t size() const { return static_cast<uint32_t>(offsets_.size()) - 1; }
  uint32_t groups() const { return groups_.rows(); }
  uint64_t memory_bytes() const;

  // The lists of the groups nearest to the query, at least `considered` of them, nearest first.
  std::vector<uint32_t> Rank(const EncodedQuery& query, uint32_t considered) const;
  // The `count` nearest of `considered` lists (see Rank), in no order.
  std::vector<uint32_t> Nearest(const EncodedQuery& query, uint32_t count,
                                uint32_t considered) const;
  // The list of a position.
  uint32_t ListOf(uint32_t position) const;

  // Gives the rows of the `probes` nearest of `considered` lists (see Rank) to `collector`.
  void Probe(const SearchData& data, uint32_t probes, uint32_t considered,
             Collector& collector) const;

  // For a query with a mask, which allows about `share` of all rows: as Probe, allowed rows only.
  // false when the lists probed hold far fewer allowed rows than `share` promises: then the mask
  // follows the score, the nearest allowed rows may be anywhere, and only a scan finds them.
  bool ProbeMasked(const SearchData& data, uint32_t probes, double share,
                   Collector& collector) const;

  void Save(ByteSink& sink) const;
  // false when the stream is short or a number in it can't be right for `rows` rows.
  bool Load(ByteSource& source, uint32_t rows, int dimension);

 private:
  struct Scored {
    float score;
    uint32_t list;
  };
  std::vector<Scored> Score(const EncodedQuery& query, uint32_t considered) const;

  EncodedRows centroids_;
  EncodedRows groups_;
  std::vector<uint32_t> group_offsets_ = {0};  // lists of a group
  std::vector<uint32_t> offsets_ = {0};  // list i has positions offsets_[i] to offsets_[i + 1] - 1
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_LISTS_H_
