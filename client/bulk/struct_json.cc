// See struct_json.h.
#include "client/bulk/struct_json.h"

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

namespace imagesearch::client {

using Json = nlohmann::ordered_json;

using google::protobuf::Value;

Json ToJson(const Value& value) {
  switch (value.kind_case()) {
    case Value::kNumberValue: {
      const double number = value.number_value();
      // Whole numbers print without ".0", as they were given.
      if (std::floor(number) == number && std::fabs(number) < 9e15) {
        return static_cast<int64_t>(number);
      }
      return number;
    }
    case Value::kStringValue:
      return value.string_value();
    case Value::kBoolValue:
      return value.bool_value();
    case Value::kStructValue:
      return client::ToJson(value.struct_value());
    case Value::kListValue: {
      Json list = Json::array();
      for (const Value& item : value.list_value().values()) list.push_back(ToJson(item));
      return list;
    }
    default:
      return nullptr;
  }
}

namespace {

void FromJson(const Json& json, Value* value) {
  if (json.is_string()) {
    value->set_string_value(json.get<std::string>());
  } else if (json.is_boolean()) {
    value->set_bool_value(json.get<bool>());
  } else if (json.is_number()) {
    value->set_number_value(json.get<double>());
  } else if (json.is_array()) {
    value->mutable_list_value();
    for (const Json& item : json) FromJson(item, value->mutable_list_value()->add_values());
  } else if (json.is_object()) {
    client::FromJson(json, value->mutable_struct_value());
  } else {
    value->set_null_value(google::protobuf::NULL_VALUE);
  }
}

}  // namespace

Json ToJson(const google::protobuf::Struct& metadata) {
  Json object = Json::object();
  std::vector<std::string> keys;
  for (const auto& [key, value] : metadata.fields()) keys.push_back(key);
  std::sort(keys.begin(), keys.end());
  for (const std::string& key : keys) object[key] = ToJson(metadata.fields().at(key));
  return object;
}

bool FromJson(const Json& json, google::protobuf::Struct* metadata) {
  if (!json.is_object()) return false;
  for (const auto& [key, value] : json.items()) {
    FromJson(value, &(*metadata->mutable_fields())[key]);
  }
  return true;
}

}  // namespace imagesearch::client
