// Strings of one field, each with the slots that hold it.
#ifndef IMAGESEARCH_INDEX_FILTER_STRING_DICTIONARY_H_
#define IMAGESEARCH_INDEX_FILTER_STRING_DICTIONARY_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/container/btree_map.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/string_view.h"
#include "index/filter/bitmap.h"
#include "index/filter/expression.h"
#include "index/filter/slot_collector.h"

namespace imagesearch::index {

// A set of (string, slot), ordered by the strings' bytes. A string with one slot takes no bitmap.
// Not thread-safe; concurrent reads are fine.
class StringDictionary {
 public:
  void Add(absl::string_view text, uint32_t slot);
  void Remove(absl::string_view text, uint32_t slot);
  bool empty() const { return strings_.empty(); }
  uint64_t memory_bytes() const { return bytes_; }

  // Each adds the slots that match to `out`, which must be finished before this changes.
  void Equal(absl::string_view text, SlotCollector& out) const;
  void Match(const Pattern& pattern, SlotCollector& out) const;
  // Calls visit for each string with how many of its slots are in `among`.
  void Count(const Bitmap& among, absl::FunctionRef<void(absl::string_view, uint64_t)> visit) const;
  // `op` is one of kLess ... kGreaterEqual.
  void Ordered(FilterOp op, absl::string_view text, SlotCollector& out) const;

 private:
  class Slots {
   public:
    explicit Slots(uint32_t slot) : only_(slot) {}
    // Bytes by which it grew.
    uint64_t Add(uint32_t slot);
    // true: none is left.
    bool Remove(uint32_t slot);
    void Collect(SlotCollector& out) const;
    uint64_t CountIn(const Bitmap& among) const;

   private:
    uint32_t only_;  // when bitmap_ is null
    std::unique_ptr<Bitmap> bitmap_;
  };
  using Map = absl::btree_map<std::string, Slots>;

  Map strings_;
  uint64_t bytes_ = 0;  // about
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_FILTER_STRING_DICTIONARY_H_
