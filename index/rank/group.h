// Hits by the value of a metadata field, at most so many of each.
#ifndef IMAGESEARCH_INDEX_RANK_GROUP_H_
#define IMAGESEARCH_INDEX_RANK_GROUP_H_

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/types/span.h"
#include "index/filter/expression.h"
#include "index/rank/rank_pass.h"

namespace imagesearch::index {

struct GroupBy {
  FieldPath field;
  std::string field_text;  // as a filter writes it
  int limit = 1;           // hits of each group, >= 1
};

// Groups in the order of their best hits. A group is a string, number or boolean; images whose
// field is missing, null, a list or a struct make up one group, whose value is null. Not
// thread-safe.
class Grouper {
 public:
  struct Group {
    google::protobuf::Value value;
    std::vector<RankedHit> hits;  // best first, at most the limit
  };

  explicit Grouper(const GroupBy& by) : by_(by) {}

  // Hits behind those that were added before. Needs their metadata.
  void Add(std::vector<RankedHit> hits);
  void Clear();

  std::vector<Group>& groups() { return groups_; }
  bool IsFull(const Group& group) const {
    return group.hits.size() >= static_cast<size_t>(by_.limit);
  }
  // Puts what a search for one group alone found in the place of its hits.
  void Refill(size_t group, std::vector<RankedHit> hits);

  // Filters on top of `filter`: those of one group, and those of none so far.
  std::string FilterOf(const std::string& filter, const Group& group) const;
  std::string FilterOfOthers(const std::string& filter) const;

 private:
  const GroupBy& by_;
  std::vector<Group> groups_;
  absl::flat_hash_map<std::string, size_t> places_;  // by serialised value
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_RANK_GROUP_H_
