// Errors with a stable machine-readable reason, on top of absl::Status. Every room uses these;
// server/grpc_status.cc is the one place that turns them into gRPC.
#ifndef IMAGESEARCH_BASE_ERROR_H_
#define IMAGESEARCH_BASE_ERROR_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"

namespace imagesearch {

// A status with `reason`, a stable UPPER_CASE word such as CORRUPT_IMAGE (docs/operations.md lists
// them all). The message says what was wrong, where, and which limit holds; it never echoes
// uploaded bytes.
absl::Status Error(absl::StatusCode code, absl::string_view reason, absl::string_view message);

// The most common case: the caller's input is wrong.
absl::Status InvalidArgument(absl::string_view reason, absl::string_view message);

// The server can't take the work now; the caller may retry after `retry_after`.
absl::Status Overloaded(absl::string_view reason, absl::string_view message,
                        absl::Duration retry_after);

// The same status with advice on when to retry, whatever its code.
absl::Status WithRetryAfter(absl::Status status, absl::Duration retry_after);

// The reason of a status; for a status without one, the name of its code ("NOT_FOUND"). Empty when
// OK.
std::string ReasonOf(const absl::Status& status);

// How long to wait before a retry, when the status says so.
std::optional<absl::Duration> RetryAfterOf(const absl::Status& status);

}  // namespace imagesearch

#endif  // IMAGESEARCH_BASE_ERROR_H_
