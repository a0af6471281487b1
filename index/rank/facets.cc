#include "index/rank/facets.h"

#include <set>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "index/filter/metadata.h"
#include "index/filter/value_count.h"

namespace imagesearch::index {
namespace {

using google::protobuf::Value;

// The distinct values that one image counts for, serialised.
std::set<std::string> ValuesOf(const Value& value) {
  std::set<std::string> values;
  const auto add = [&values](const Value& one) {
    if (one.has_string_value() || one.has_number_value() || one.has_bool_value()) {
      values.insert(one.SerializeAsString());
    }
  };
  if (value.has_list_value()) {
    for (const Value& element : value.list_value().values()) add(element);
  } else {
    add(value);
  }
  return values;
}

}  // namespace

absl::StatusOr<std::vector<ValueCount>> CountValuesOf(Collection& collection,
                                                      const std::string& filter,
                                                      const FieldPath& field, size_t limit) {
  auto counted = collection.CountValues(filter, field, limit);
  if (!absl::IsUnimplemented(counted.status())) return counted;
  absl::flat_hash_map<std::string, uint64_t> counts;
  ListOptions list;
  list.filter = filter;
  list.page_size = 1000;
  list.with_vector = false;
  do {
    auto page = collection.List(list);
    if (!page.ok()) return page.status();
    for (const Record& record : page->records) {
      const Value* value = FindValue(record.metadata, field);
      if (value == nullptr) continue;
      for (const std::string& key : ValuesOf(*value)) {
        const auto known = counts.find(key);
        if (known != counts.end()) {
          ++known->second;
        } else if (counts.size() < kMostListedValues) {
          counts[key] = 1;
        }
      }
    }
    list.page_token = page->next_page_token;
  } while (!list.page_token.empty());
  TopValues top(limit);
  for (const auto& [key, count] : counts) {
    Value value;
    value.ParseFromString(key);
    top.Add(value, count);
  }
  return top.Finish();
}

}  // namespace imagesearch::index
