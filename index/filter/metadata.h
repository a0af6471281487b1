// Reading metadata the way that filters see it: values by path, times, points.
#ifndef IMAGESEARCH_INDEX_FILTER_METADATA_H_
#define IMAGESEARCH_INDEX_FILTER_METADATA_H_

#include <optional>

#include "absl/strings/string_view.h"
#include "google/protobuf/struct.pb.h"
#include "index/filter/expression.h"

namespace imagesearch::index {

// The value at `path`, which must not be the id; null when there is none. A path goes through
// structs only, never into a list.
const google::protobuf::Value* FindValue(const google::protobuf::Struct& metadata,
                                         const FieldPath& path);

// null, or a Value without a kind.
bool IsNull(const google::protobuf::Value& value);

// An RFC 3339 date-time, cut to microseconds. Looser in two ways, both meaning UTC: the zone may be
// missing, and so may the whole time of day (2021-02-14 is its midnight). A blank may stand for T.
std::optional<Moment> ParseMoment(absl::string_view text);

// The point of a struct with the numbers `lat` and `lng` in range; other keys don't matter.
std::optional<GeoPoint> PointOf(const google::protobuf::Value& value);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_FILTER_METADATA_H_
