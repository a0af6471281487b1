// Which slots match a filter, without reading records: an inverted index in memory over every field
// of the metadata (fields are found by themselves; nothing is declared) and over the ids.
#ifndef IMAGESEARCH_INDEX_FILTER_FIELD_INDEX_H_
#define IMAGESEARCH_INDEX_FILTER_FIELD_INDEX_H_

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/strings/string_view.h"
#include "google/protobuf/struct.pb.h"
#include "index/filter/bitmap.h"
#include "index/filter/expression.h"
#include "index/filter/filter.h"
#include "index/filter/value_count.h"

namespace imagesearch::index {

// Thread-safe. Reads run side by side; a write waits for the reads that have started.
//
// For every filter f and every slot added: Evaluate(f) holds the slot exactly when
// f.Matches(id, metadata) is true.
class FieldIndex {
 public:
  FieldIndex();
  ~FieldIndex();
  FieldIndex(const FieldIndex&) = delete;
  FieldIndex& operator=(const FieldIndex&) = delete;

  // `slot` must not be in the index: Remove what it held first.
  void Add(uint32_t slot, absl::string_view id, const google::protobuf::Struct& metadata);

  // Takes exactly what Add got for this slot. A slot that is not in the index is ignored.
  void Remove(uint32_t slot, absl::string_view id, const google::protobuf::Struct& metadata);

  // All slots that match, expired and tombstoned ones too, as long as they were not removed.
  Bitmap Evaluate(const Filter& filter) const;

  // The `limit` most frequent values of a field over the slots of `among`: strings, numbers and
  // booleans, a list's elements, a struct's keys. A slot counts once for each of its values.
  std::vector<ValueCount> CountValues(const FieldPath& path, const Bitmap& among,
                                      size_t limit) const;

  // About.
  uint64_t memory_bytes() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_FILTER_FIELD_INDEX_H_
