// Fields by path, each with its values, its elements and its points.
#include "index/filter/field_index.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "base/shared_mutex.h"
#include "index/filter/expression.h"
#include "index/filter/field_key.h"
#include "index/filter/geo_column.h"
#include "index/filter/metadata.h"
#include "index/filter/slot_collector.h"
#include "index/filter/string_dictionary.h"
#include "index/filter/value_set.h"

namespace imagesearch::index {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

// Everything about one path. Parts that few fields need are made when needed.
struct Field {
  uint64_t holders = 0;  // slots that have it, null included
  Bitmap present;        // not null
  ValueSet scalars;
  std::unique_ptr<ValueSet> elements;  // of lists; keys of structs
  std::unique_ptr<GeoColumn> points;
};

// A set of slots, or everything but it: NOT costs nothing until the end.
struct SlotSet {
  Bitmap slots;
  bool complement = false;
};

SlotSet Intersect(SlotSet a, const SlotSet& b) {
  if (a.complement && b.complement) {
    a.slots |= b.slots;
    return a;
  }
  if (a.complement) return {b.slots - a.slots, false};
  if (b.complement) {
    a.slots -= b.slots;
  } else {
    a.slots &= b.slots;
  }
  return a;
}

SlotSet Complement(SlotSet set) {
  set.complement = !set.complement;
  return set;
}

SlotSet Combine(const FilterNode& node, std::vector<SlotSet> children) {
  if (node.op == FilterOp::kNot) return Complement(std::move(children[0]));
  const bool any = node.op == FilterOp::kOr;  // De Morgan: a OR b = NOT (NOT a AND NOT b)
  SlotSet result = any ? Complement(std::move(children[0])) : std::move(children[0]);
  for (size_t i = 1; i < children.size(); ++i) {
    if (any) children[i].complement = !children[i].complement;
    result = Intersect(std::move(result), children[i]);
  }
  return any ? Complement(std::move(result)) : result;
}

}  // namespace

struct FieldIndex::Impl {
  mutable SharedMutex mutex;
  absl::flat_hash_map<std::string, std::unique_ptr<Field>> fields ABSL_GUARDED_BY(mutex);
  StringDictionary ids ABSL_GUARDED_BY(mutex);
  Bitmap all ABSL_GUARDED_BY(mutex);

  SlotSet Leaf(const FilterNode& node) const ABSL_SHARED_LOCKS_REQUIRED(mutex);
  SlotSet IdLeaf(const FilterNode& node) const ABSL_SHARED_LOCKS_REQUIRED(mutex);
};

namespace {

void AddTo(Field& field, const Value& value, uint32_t slot) {
  ++field.holders;
  if (!IsNull(value)) field.present.add(slot);
  if (value.has_list_value()) {
    if (field.elements == nullptr) field.elements = std::make_unique<ValueSet>();
    for (const Value& element : value.list_value().values()) field.elements->Add(element, slot);
  } else if (value.has_struct_value()) {
    if (field.elements == nullptr) field.elements = std::make_unique<ValueSet>();
    for (const auto& [key, unused] : value.struct_value().fields()) {
      field.elements->AddString(key, slot);
    }
    if (const auto point = PointOf(value)) {
      if (field.points == nullptr) field.points = std::make_unique<GeoColumn>();
      field.points->Add(*point, slot);
    }
  } else {
    field.scalars.Add(value, slot);
  }
}

void RemoveFrom(Field& field, const Value& value, uint32_t slot) {
  if (field.holders > 0) --field.holders;
  field.present.remove(slot);
  if (value.has_list_value()) {
    if (field.elements == nullptr) return;
    for (const Value& element : value.list_value().values()) field.elements->Remove(element, slot);
  } else if (value.has_struct_value()) {
    if (field.elements != nullptr) {
      for (const auto& [key, unused] : value.struct_value().fields()) {
        field.elements->RemoveString(key, slot);
      }
    }
    const auto point = PointOf(value);
    if (point && field.points != nullptr) field.points->Remove(*point, slot);
  } else {
    field.scalars.Remove(value, slot);
  }
}

SlotSet FieldLeaf(const Field& field, const FilterNode& node) {
  SlotCollector slots;
  switch (node.op) {
    case FilterOp::kPresent:
      return {field.present};
    case FilterOp::kIn:
      for (const Literal& literal : node.values) field.scalars.Equal(literal, slots);
      break;
    case FilterOp::kContains:
      field.scalars.Equal(node.values[0], slots);
      if (field.elements != nullptr) field.elements->Equal(node.values[0], slots);
      break;
    case FilterOp::kGeo:
      if (field.points != nullptr) field.points->Within(node.area, slots);
      break;
    default:
      // x != null is has(x), whatever the type.
      if (node.op == FilterOp::kNotEqual &&
          std::holds_alternative<std::monostate>(node.values[0])) {
        return {field.present};
      }
      return {field.scalars.Compare(node.op, node.values[0])};
  }
  return {slots.Finish()};
}

}  // namespace

SlotSet FieldIndex::Impl::IdLeaf(const FilterNode& node) const {
  SlotCollector slots;
  switch (node.op) {
    case FilterOp::kPresent:
      return {Bitmap(), /*complement=*/true};
    case FilterOp::kLess:
    case FilterOp::kLessEqual:
    case FilterOp::kGreater:
    case FilterOp::kGreaterEqual:
      ids.Ordered(node.op, std::get<std::string>(node.values[0]), slots);
      return {slots.Finish()};
    default:
      for (const Literal& literal : node.values) {
        if (const auto* pattern = std::get_if<Pattern>(&literal)) {
          ids.Match(*pattern, slots);
        } else {
          ids.Equal(std::get<std::string>(literal), slots);
        }
      }
      return {slots.Finish(), node.op == FilterOp::kNotEqual};
  }
}

SlotSet FieldIndex::Impl::Leaf(const FilterNode& node) const {
  if (node.field.is_id) return IdLeaf(node);
  const auto it = fields.find(FieldKey(node.field));
  if (it == fields.end()) return {};
  return FieldLeaf(*it->second, node);
}

FieldIndex::FieldIndex() : impl_(std::make_unique<Impl>()) {}
FieldIndex::~FieldIndex() = default;

void FieldIndex::Add(uint32_t slot, absl::string_view id, const Struct& metadata) {
  WriterMutexLock lock(&impl_->mutex);
  impl_->all.add(slot);
  impl_->ids.Add(id, slot);
  ForEachField(metadata, [&](const std::string& key, const Value& value) {
    impl_->mutex.AssertHeld();
    std::unique_ptr<Field>& field = impl_->fields[key];
    if (field == nullptr) field = std::make_unique<Field>();
    AddTo(*field, value, slot);
  });
}

void FieldIndex::Remove(uint32_t slot, absl::string_view id, const Struct& metadata) {
  WriterMutexLock lock(&impl_->mutex);
  if (!impl_->all.contains(slot)) return;
  impl_->all.remove(slot);
  impl_->ids.Remove(id, slot);
  ForEachField(metadata, [&](const std::string& key, const Value& value) {
    impl_->mutex.AssertHeld();
    const auto it = impl_->fields.find(key);
    if (it == impl_->fields.end()) return;
    RemoveFrom(*it->second, value, slot);
    if (it->second->holders == 0) impl_->fields.erase(it);
  });
}

Bitmap FieldIndex::Evaluate(const Filter& filter) const {
  ReaderMutexLock lock(&impl_->mutex);
  if (filter.root() == nullptr) return impl_->all;
  SlotSet set = FoldFilter<SlotSet>(
      *filter.root(),
      [&](const FilterNode& node) {
        impl_->mutex.AssertReaderHeld();
        return impl_->Leaf(node);
      },
      Combine);
  if (set.complement) return impl_->all - set.slots;
  return std::move(set.slots);
}

std::vector<ValueCount> FieldIndex::CountValues(const FieldPath& path, const Bitmap& among,
                                                size_t limit) const {
  ReaderMutexLock lock(&impl_->mutex);
  TopValues top(limit);
  const auto it = impl_->fields.find(FieldKey(path));
  if (it == impl_->fields.end()) return top.Finish();
  const Field& field = *it->second;
  if (field.elements == nullptr) {
    field.scalars.Count(among, [&](const Value& value, uint64_t count) { top.Add(value, count); });
    return top.Finish();
  }
  absl::flat_hash_map<std::string, uint64_t> counts;  // by serialised value
  const auto add = [&](const Value& value, uint64_t count) {
    if (count > 0) counts[value.SerializeAsString()] += count;
  };
  field.scalars.Count(among, add);
  field.elements->Count(among, add);
  for (const auto& [key, count] : counts) {
    Value value;
    value.ParseFromString(key);
    top.Add(value, count);
  }
  return top.Finish();
}

uint64_t FieldIndex::memory_bytes() const {
  ReaderMutexLock lock(&impl_->mutex);
  uint64_t bytes = sizeof(Impl) + impl_->ids.memory_bytes() + impl_->all.getSizeInBytes(false);
  for (const auto& [key, field] : impl_->fields) {
    bytes += sizeof(Field) + 2 * key.size() + field->scalars.memory_bytes() +
             field->present.getSizeInBytes(false);
    if (field->elements != nullptr) bytes += field->elements->memory_bytes();
    if (field->points != nullptr) bytes += field->points->memory_bytes();
  }
  return bytes;
}

}  // namespace imagesearch::index
