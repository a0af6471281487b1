// The most frequent values of a field.
#ifndef IMAGESEARCH_INDEX_FILTER_VALUE_COUNT_H_
#define IMAGESEARCH_INDEX_FILTER_VALUE_COUNT_H_

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <utility>
#include <vector>

#include "google/protobuf/struct.pb.h"

namespace imagesearch::index {

struct ValueCount {
  google::protobuf::Value value;  // a string, number or boolean
  uint64_t count = 0;

  // Most frequent first; then strings by their bytes, numbers, false, true.
  friend bool operator<(const ValueCount& a, const ValueCount& b) {
    const auto key = [](const ValueCount& c) {
      const int kind = c.value.has_string_value() ? 0 : c.value.has_number_value() ? 1 : 2;
      return std::tuple(~c.count, kind, c.value.number_value(), c.value.bool_value());
    };
    if (key(a) != key(b)) return key(a) < key(b);
    return a.value.string_value() < b.value.string_value();
  }
};

// Keeps the `limit` most frequent of the values it is given, each once. Not thread-safe.
class TopValues {
 public:
  explicit TopValues(size_t limit) : limit_(limit) {}

  void Add(const google::protobuf::Value& value, uint64_t count) {
    if (count == 0 || limit_ == 0) return;
    ValueCount next{value, count};
    if (kept_.size() == limit_) {
      if (!(next < kept_.front())) return;
      std::pop_heap(kept_.begin(), kept_.end());
      kept_.pop_back();
    }
    kept_.push_back(std::move(next));
    std::push_heap(kept_.begin(), kept_.end());
  }
  // In order. Leaves it empty.
  std::vector<ValueCount> Finish() {
    std::sort(kept_.begin(), kept_.end());
    return std::move(kept_);
  }

 private:
  const size_t limit_;
  std::vector<ValueCount> kept_;  // a heap, the least on top
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_FILTER_VALUE_COUNT_H_
