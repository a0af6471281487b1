// Relevance: how sure one can be that a score is not what unrelated images of the collection reach
// by chance. A cosine alone doesn't tell, because its scale moves with the query, with the kind of
// query (text or image) and with the collection.
//
// A query's background are its scores against a random sample of the collection. Their upper tail
// is fitted by peaks over a threshold (Balkema and de Haan 1974, Pickands 1975) with an
// exponential, the member of that family for which the maximum follows Gumbel's law:
//
//   P(score >= s) = 0.1 exp(-(s - u) / b)    u: the 90 % quantile of the background
//                                            b: mean excess of the background above u
//   E = N P(score >= s)                      N: images of the collection
//   relevance = exp(-E)                      P(none of N unrelated images scores as high)
//
// Fitting the tail of the scores that don't match, to judge one that might, is the way of Scheirer
// et al. ("Robust fusion: extreme value theory for recognition score normalization", ECCV 2010).
// Images that do match are in the sample too and would make a query that suits a large part of the
// collection look undecided. So u and b are bounded by what is usual in this collection: measured
// from the median m in units of (m - 10 % quantile) / 1.2816, a scale that matches can't move, they
// are at most the 90 % quantiles of the same two figures of sampled images taken as queries.
#ifndef IMAGESEARCH_INDEX_RANK_RELEVANCE_H_
#define IMAGESEARCH_INDEX_RANK_RELEVANCE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/mutex.h"
#include "index/collection.h"
#include "index/rank/rank_pass.h"

namespace imagesearch::index {

// The tail of one query's background.
struct BackgroundTail {
  double u = 0;
  double b = 1;  // > 0
  double images = 0;

  // In [0, 1], rising with the score.
  float Relevance(float score) const;
};

// A sample of one collection at one moment. Immutable and thread-safe.
class Background {
 public:
  static constexpr size_t kSample = 512;
  // Below this many sampled images nothing can be said.
  static constexpr size_t kLeast = 32;

  Background(VectorSample sample, int dimension);

  bool usable() const { return rows_ >= kLeast; }
  // `query` has length 1 and the collection's dimension. usable() must hold.
  BackgroundTail TailFor(absl::Span<const float> query) const;

  uint64_t version() const { return sample_.version; }
  size_t rows() const { return rows_; }
  int dimension() const { return dimension_; }

 private:
  struct Shape {
    double middle, scale, u, b;
  };
  static Shape ShapeOf(std::vector<float>& scores);

  const VectorSample sample_;
  const int dimension_;
  const size_t rows_;
  double most_u_, most_b_;  // in units of the scale; see above
};

// The backgrounds of all collections, sampled again as they change. Thread-safe.
class Backgrounds {
 public:
  // A collection that changes is sampled again at most this often; a small one, of which the sample
  // is all, at once.
  static constexpr absl::Duration kLeastAge = absl::Seconds(2);

  explicit Backgrounds(std::function<absl::Time()> clock = absl::Now) : clock_(std::move(clock)) {}

  // Of `collection` as of about `version`, a version that a search of it has answered. Errors are
  // those of Sample and List.
  absl::StatusOr<std::shared_ptr<const Background>> Get(Collection& collection, uint64_t version);

 private:
  struct Entry {
    std::shared_ptr<const Background> background;
    uint64_t seen_version = 0;
    absl::Time sampled_at;
  };
  static constexpr size_t kMostCollections = 1024;

  const std::function<absl::Time()> clock_;
  Mutex mutex_;
  absl::flat_hash_map<std::string, Entry> entries_ ABSL_GUARDED_BY(mutex_);
};

// Up to `n` stored vectors. For collections that can't sample: their first `n` by id.
absl::StatusOr<VectorSample> SampleOf(Collection& collection, size_t n);

// Writes the relevance into each hit and drops those below `least`. Hits in descending order of
// their scores stay so.
class RelevancePass : public RankPass {
 public:
  // `tail` null: nothing can be said, hits stay as they are.
  RelevancePass(std::optional<BackgroundTail> tail, float least) : tail_(tail), least_(least) {}
  absl::Status Run(Ranking* ranking) override;

 private:
  const std::optional<BackgroundTail> tail_;
  const float least_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_RANK_RELEVANCE_H_
