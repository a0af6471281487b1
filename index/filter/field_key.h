// Fields of metadata on every level, and paths as keys of maps.
#ifndef IMAGESEARCH_INDEX_FILTER_FIELD_KEY_H_
#define IMAGESEARCH_INDEX_FILTER_FIELD_KEY_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/struct.pb.h"
#include "index/filter/expression.h"

namespace imagesearch::index {

// A path as a key: unambiguous for all names.
inline void AppendFieldKey(absl::string_view name, std::string* path) {
  absl::StrAppend(path, name.size(), ":", name);
}

inline std::string FieldKey(const FieldPath& path) {
  std::string key;
  for (const std::string& name : path.keys) AppendFieldKey(name, &key);
  return key;
}

// Calls visit(key, value) for each field on each level.
template <typename Visit>
void ForEachField(const google::protobuf::Struct& metadata, Visit visit) {
  std::vector<std::pair<std::string, const google::protobuf::Struct*>> stack;
  stack.emplace_back("", &metadata);
  while (!stack.empty()) {
    const std::string prefix = std::move(stack.back().first);
    const google::protobuf::Struct* level = stack.back().second;
    stack.pop_back();
    for (const auto& [name, value] : level->fields()) {
      std::string key = prefix;
      AppendFieldKey(name, &key);
      visit(key, value);
      if (value.has_struct_value()) stack.emplace_back(std::move(key), &value.struct_value());
    }
  }
}

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_FILTER_FIELD_KEY_H_
