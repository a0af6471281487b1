// Inverted lists: rows of one list have neighbouring positions, and a query reads the lists whose
// centroids are nearest to it.
#ifndef IMAGESEARCH_INDEX_ANN_LISTS_H_
#define IMAGESEARCH_INDEX_ANN_LISTS_H_

#include <cstdint>
#include <vector>

#include "index/ann/cluster.h"
#include "index/ann/collector.h"

namespace imagesearch::index {

// Whether lists of which `read` rows were read hold so many fewer rows that a mask allows than its
// `share` of all rows promises that it follows the score: then the nearest allowed rows may be
// anywhere, and only a scan finds them.
bool MaskFollowsScore(double share, uint64_t read, uint64_t allowed);

// Immutable after construction or Load. Thread-safe.
class Lists {
 public:
  Lists() = default;
  Lists(const Clusters& clusters, int dimension);

  uint32_t size() const { return static_cast<uint32_t>(offsets_.size()) - 1; }
  uint32_t groups() const { return groups_.rows(); }
  uint64_t memory_bytes() const;

  // A query as Rank and NearestScored take it; that of the rows' codes will do for Rank, too.
  EncodedQuery EncodeQuery(const float* query) const { return centroids_.EncodeQuery(query); }

  // The lists of the groups nearest to the query, at least `considered` of them, nearest first.
  std::vector<uint32_t> Rank(const EncodedQuery& query, uint32_t considered) const;
  // The `count` nearest of `considered` lists (see Rank), in no order.
  std::vector<uint32_t> Nearest(const EncodedQuery& query, uint32_t count,
                                uint32_t considered) const;
  // The list of a position.
  uint32_t ListOf(uint32_t position) const;
  // The positions of a list: from begin(list) to before end(list).
  uint32_t begin(uint32_t list) const { return offsets_[list]; }
  uint32_t end(uint32_t list) const { return offsets_[list + 1]; }
  // The centroid of a list as it is stored, dimension() values.
  void DecodeCentroid(uint32_t list, float* out) const;

  struct Scored {
    float score;
    uint32_t list;
  };
  // The `probes` nearest of `considered` lists (see Rank), nearest first, with the query's product
  // with their centroids. `query`: of EncodeQuery.
  std::vector<Scored> NearestScored(const EncodedQuery& query, uint32_t probes,
                                    uint32_t considered) const;

  // Gives the rows of the `probes` nearest of `considered` lists (see Rank) to `collector`.
  void Probe(const SearchData& data, uint32_t probes, uint32_t considered,
             Collector& collector) const;

  // For a query with a mask, which allows about `share` of all rows: as Probe, allowed rows only.
  // false when MaskFollowsScore.
  bool ProbeMasked(const SearchData& data, uint32_t probes, double share,
                   Collector& collector) const;

  void Save(ByteSink& sink) const;
  // false when the stream is short or a number in it can't be right for `rows` rows.
  bool Load(ByteSource& source, uint32_t rows, int dimension);

 private:
  std::vector<Scored> Score(const EncodedQuery& query, uint32_t considered) const;

  EncodedRows centroids_;
  EncodedRows groups_;
  std::vector<uint32_t> group_offsets_ = {0};  // lists of a group
  std::vector<uint32_t> offsets_ = {0};  // list i has positions offsets_[i] to offsets_[i + 1] - 1
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_LISTS_H_
