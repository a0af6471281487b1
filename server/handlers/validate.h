// Checks of what callers send, before work starts. All errors are INVALID_ARGUMENT with a reason
// and the limit.
#ifndef IMAGESEARCH_SERVER_HANDLERS_VALIDATE_H_
#define IMAGESEARCH_SERVER_HANDLERS_VALIDATE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/limits.h"
#include "google/protobuf/repeated_ptr_field.h"
#include "google/protobuf/struct.pb.h"
#include "google/protobuf/timestamp.pb.h"
#include "index/collection.h"

namespace imagesearch::server {

// BAD_ID: empty or longer than the limit.
absl::Status CheckId(absl::string_view id, const Limits& limits);

// BAD_ID of one of them, TOO_MANY_IDS.
absl::Status CheckIds(const google::protobuf::RepeatedPtrField<std::string>& ids,
                      const Limits& limits);

// DIM_MISMATCH, NOT_FINITE, ZERO_NORM.
absl::Status CheckVector(absl::Span<const float> values, int dimension);

// METADATA_TOO_LARGE (bytes, keys or depth), BAD_METADATA (a number that is not finite, a value
// without a kind: neither has a JSON form).
absl::Status CheckMetadata(const google::protobuf::Struct& metadata, const Limits& limits);

// BAD_FILTER, FILTER_TOO_LONG.
absl::Status CheckFilter(const std::string& filter, const Limits& limits);

// BAD_TIME: outside the years 1 to 9999, or nanoseconds outside a second.
absl::StatusOr<absl::Time> ToTime(const google::protobuf::Timestamp& timestamp);

// EMPTY_REQUEST for 0, TOO_MANY for more than `most`.
absl::Status CheckCount(int count, uint32_t most, absl::string_view what);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HANDLERS_VALIDATE_H_
