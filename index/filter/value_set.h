// The scalar values of one field over all slots, by type.
#ifndef IMAGESEARCH_INDEX_FILTER_VALUE_SET_H_
#define IMAGESEARCH_INDEX_FILTER_VALUE_SET_H_

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/struct.pb.h"
#include "index/filter/bitmap.h"
#include "index/filter/expression.h"
#include "index/filter/slot_collector.h"
#include "index/filter/sorted_column.h"
#include "index/filter/string_dictionary.h"

namespace imagesearch::index {

// A set of (value, slot). Values that no comparison can match (lists, structs, NaN) are left out.
// Not thread-safe; concurrent reads are fine.
class ValueSet {
 public:
  void Add(const google::protobuf::Value& value, uint32_t slot);
  void AddString(absl::string_view text, uint32_t slot);
  // Once a value of a slot is removed, the others of that slot must be removed too before the next
  // Compare.
  void Remove(const google::protobuf::Value& value, uint32_t slot);
  void RemoveString(absl::string_view text, uint32_t slot);
  uint64_t memory_bytes() const;

  // Calls visit for each string, number and boolean with how many slots of `among` have it.
  void Count(const Bitmap& among,
             absl::FunctionRef<void(const google::protobuf::Value&, uint64_t)> visit) const;

  // Slots with a value for which `value op literal` holds; op is a comparison with one literal.
  Bitmap Compare(FilterOp op, const Literal& literal) const;
  // Adds the slots with a value equal to the literal to `out`, which must be finished before this
  // changes.
  void Equal(const Literal& literal, SlotCollector& out) const;

 private:
  // Slots with a value of the literal's type.
  const Bitmap& OfType(const Literal& literal) const;

  StringDictionary strings_;
  SortedColumn<double> numbers_;
  SortedColumn<int64_t> moments_;  // of the strings that are times
  Bitmap with_string_, with_number_, with_moment_;
  Bitmap true_, false_, null_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_FILTER_VALUE_SET_H_
