// Measures the model of a running server: recall of text and image queries, zero-shot
// classification, throughput. Everything goes through the public API and exact search.
#ifndef IMAGESEARCH_CLIENT_EVALUATE_EVALUATION_H_
#define IMAGESEARCH_CLIENT_EVALUATE_EVALUATION_H_

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "client/client.h"
#include "client/evaluate/dataset.h"
#include "client/evaluate/temporary_collections.h"

namespace imagesearch::client {

// Share of queries, in percent, with a right answer among the first 1, 5 and 10.
struct Recall {
  std::string task;
  size_t queries = 0;
  size_t gallery = 0;
  double at1 = 0, at5 = 0, at10 = 0;
};

// Adds up ranks of right answers.
class RecallCounter {
 public:
  // The rank (from 0) of the best right answer among the first 10; -1: not among them.
  void Add(int rank);
  Recall Result(std::string task, size_t gallery) const;

 private:
  size_t queries_ = 0, at1_ = 0, at5_ = 0, at10_ = 0;
};

// Works in temporary collections of its own, which it deletes at its end. Not thread-safe, but for
// Stop().
class Evaluation {
 public:
  // `client` must outlive it. `record_folder` as for TemporaryCollections.
  explicit Evaluation(const Client* client, const std::string& record_folder = "")
      : client_(client), collections_(client, record_folder) {}
  Evaluation(const Evaluation&) = delete;
  Evaluation& operator=(const Evaluation&) = delete;

  // Stores the pictures; those that fail are left out of every measure and listed in failures().
  // Once, before the measures below.
  absl::Status Store(std::vector<EvalImage> images);

  // Each caption asks for its picture; a picture with the same caption counts as right.
  absl::StatusOr<Recall> TextToImage();
  // Each picture asks for one of its captions among all captions.
  absl::StatusOr<Recall> ImageToText();
  // With `query_prefix`, pictures whose name starts with it ask for one of their group among the
  // others; without, each picture of a group of at least two asks among all pictures but itself.
  absl::StatusOr<Recall> ImageToImage(const std::string& query_prefix);
  // Texts with lists of right pictures: any one of them counts.
  absl::StatusOr<Recall> Queries(const std::vector<EvalQuery>& queries);
  // The nearest class by the mean of its prompts' unit vectors; at1 and at5 are top-1 and top-5
  // accuracy (Radford et al. 2021, section 3.1.4).
  absl::StatusOr<Recall> ZeroShot(const std::vector<std::string>& classes,
                                  const std::vector<std::string>& templates);

  // Deletes the collections now; what is under way then fails.
  void Stop() { collections_.DeleteAll(); }
  // Collections of earlier evaluations, killed before their end, that were deleted at the start.
  int swept() const { return collections_.swept(); }

  struct Failure {
    std::string name;
    absl::Status status;
  };
  const std::vector<Failure>& failures() const { return failures_; }
  size_t stored() const { return stored_count_; }
  double images_per_second() const { return images_per_second_; }
  double texts_per_second() const;

 private:
  using Vectors = std::vector<std::vector<float>>;

  // Each text is sent once, however often it is asked for.
  absl::StatusOr<Vectors> EncodeTexts(const std::vector<std::string>& texts);
  // Fills image_vectors_; empty where a picture failed.
  absl::Status LoadImageVectors();
  // A collection of these vectors; the id of each is its place.
  absl::StatusOr<std::string> StoreVectors(absl::string_view kind, const Vectors& vectors);
  // The places of the nearest `limit` members for each query, best first.
  absl::StatusOr<std::vector<std::vector<size_t>>> Nearest(const std::string& collection,
                                                           const Vectors& queries, int limit);

  const Client* const client_;
  TemporaryCollections collections_;
  std::string image_collection_;
  std::vector<EvalImage> images_;  // the whole set; the place in it is the id
  std::vector<bool> stored_;       // by place
  size_t stored_count_ = 0;
  std::vector<Failure> failures_;
  Vectors image_vectors_;
  double images_per_second_ = 0;
  std::unordered_map<std::string, std::vector<float>> text_vectors_;
  size_t texts_encoded_ = 0;
  double text_seconds_ = 0;
};

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_EVALUATE_EVALUATION_H_
