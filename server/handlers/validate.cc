// Input ceilings and shapes.
#include "server/handlers/validate.h"

#include <cmath>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/filter/filter.h"
#include "server/grpc_status.h"

namespace imagesearch::server {

absl::Status CheckId(absl::string_view id, const Limits& limits) {
  if (id.empty()) return InvalidArgument("BAD_ID", "the id is empty");
  if (id.size() > limits.max_id_bytes) {
    return InvalidArgument("BAD_ID", absl::StrCat("the id has ", id.size(), " bytes, the limit is ",
                                                  limits.max_id_bytes));
  }
  return absl::OkStatus();
}

absl::Status CheckIds(const google::protobuf::RepeatedPtrField<std::string>& ids,
                      const Limits& limits) {
  if (ids.size() > static_cast<int>(limits.max_limit)) {
    return AtField(InvalidArgument("TOO_MANY_IDS", absl::StrCat(ids.size(), " given, the limit is ",
                                                                limits.max_limit)),
                   "ids");
  }
  for (int i = 0; i < ids.size(); ++i) {
    absl::Status status = CheckId(ids[i], limits);
    if (!status.ok()) return AtField(status, absl::StrCat("ids[", i, "]"));
  }
  return absl::OkStatus();
}

absl::Status CheckVector(absl::Span<const float> values, int dimension) {
  if (static_cast<int64_t>(values.size()) != dimension) {
    return InvalidArgument("DIM_MISMATCH",
                           absl::StrCat("the vector has ", values.size(),
                                        " values, the collection takes ", dimension));
  }
  double norm = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    if (!std::isfinite(values[i])) {
      return InvalidArgument("NOT_FINITE",
                             absl::StrCat("value ", i, " of the vector is not finite"));
    }
    norm += double{values[i]} * values[i];
  }
  if (norm == 0) return InvalidArgument("ZERO_NORM", "all values of the vector are 0");
  return absl::OkStatus();
}

absl::Status CheckMetadata(const google::protobuf::Struct& metadata, const Limits& limits) {
  const size_t bytes = metadata.ByteSizeLong();
  if (bytes > limits.max_metadata_bytes) {
    return InvalidArgument("METADATA_TOO_LARGE",
                           absl::StrCat("the metadata take ", bytes, " bytes, the limit is ",
                                        limits.max_metadata_bytes));
  }
  uint64_t keys = 0;
  // Structs and values still to look at, with their level; no recursion.
  std::vector<std::pair<const google::protobuf::Struct*, uint32_t>> structs = {{&metadata, 1}};
  std::vector<std::pair<const google::protobuf::Value*, uint32_t>> values;
  while (!structs.empty() || !values.empty()) {
    if (!structs.empty()) {
      const auto [object, depth] = structs.back();
      structs.pop_back();
      if (depth > limits.max_metadata_depth) {
        return InvalidArgument(
            "METADATA_TOO_LARGE",
            absl::StrCat("the metadata nest deeper than the limit of ", limits.max_metadata_depth));
      }
      keys += object->fields().size();
      for (const auto& [key, value] : object->fields()) values.emplace_back(&value, depth);
      continue;
    }
    const auto [value, depth] = values.back();
    values.pop_back();
    switch (value->kind_case()) {
      case google::protobuf::Value::kStructValue:
        structs.emplace_back(&value->struct_value(), depth + 1);
        break;
      case google::protobuf::Value::kListValue:
        if (depth + 1 > limits.max_metadata_depth) {
          return InvalidArgument("METADATA_TOO_LARGE",
                                 absl::StrCat("the metadata nest deeper than the limit of ",
                                              limits.max_metadata_depth));
        }
        for (const auto& element : value->list_value().values()) {
          values.emplace_back(&element, depth + 1);
        }
        break;
      case google::protobuf::Value::kNumberValue:
        if (!std::isfinite(value->number_value())) {
          return InvalidArgument("BAD_METADATA", "a number in the metadata is not finite");
        }
        break;
      case google::protobuf::Value::KIND_NOT_SET:
        return InvalidArgument("BAD_METADATA", "a value in the metadata has no kind; null is one");
      default:
        break;
    }
  }
  if (keys > limits.max_metadata_keys) {
    return InvalidArgument(
        "METADATA_TOO_LARGE",
        absl::StrCat("the metadata have ", keys, " keys, nested ones included; the limit is ",
                     limits.max_metadata_keys));
  }
  return absl::OkStatus();
}

absl::Status CheckFilter(const std::string& filter, const Limits& limits) {
  if (filter.empty()) return absl::OkStatus();
  if (filter.size() > limits.max_filter_bytes) {
    return AtField(InvalidArgument("FILTER_TOO_LONG",
                                   absl::StrCat("the filter has ", filter.size(),
                                                " bytes, the limit is ", limits.max_filter_bytes)),
                   "filter");
  }
  return AtField(index::Filter::Parse(filter, limits).status(), "filter");
}

absl::StatusOr<absl::Time> ToTime(const google::protobuf::Timestamp& timestamp) {
  // The range of google.protobuf.Timestamp: 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999999999Z.
  if (timestamp.seconds() < -62'135'596'800 || timestamp.seconds() > 253'402'300'799 ||
      timestamp.nanos() < 0 || timestamp.nanos() > 999'999'999) {
    return InvalidArgument("BAD_TIME",
                           "seconds must lie in the years 1 to 9999, nanos in 0 to 999999999");
  }
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Nanoseconds(timestamp.nanos());
}

absl::Status CheckCount(int count, uint32_t most, absl::string_view what) {
  if (count == 0) {
    return AtField(InvalidArgument("EMPTY_REQUEST", "at least 1 is needed"), what);
  }
  if (count > static_cast<int>(most)) {
    return AtField(InvalidArgument("TOO_MANY", absl::StrCat(count, " given, the limit is ", most)),
                   what);
  }
  return absl::OkStatus();
}

}  // namespace imagesearch::server
