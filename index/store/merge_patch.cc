// The algorithm of RFC 7396, section 2.
#include "index/store/merge_patch.h"

namespace imagesearch::index {

using google::protobuf::Struct;
using google::protobuf::Value;

void MergePatch(const Struct& patch, Struct* target) {
  for (const auto& [key, value] : patch.fields()) {
    switch (value.kind_case()) {
      case Value::kNullValue:
        target->mutable_fields()->erase(key);
        break;
      case Value::kStructValue:
        // mutable_struct_value() empties what was no object before.
        MergePatch(value.struct_value(), (*target->mutable_fields())[key].mutable_struct_value());
        break;
      default:
        (*target->mutable_fields())[key] = value;
    }
  }
}

}  // namespace imagesearch::index
