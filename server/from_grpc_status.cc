#include "server/from_grpc_status.h"

#include <optional>
#include <string>

#include "absl/strings/cord.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace imagesearch::server {
namespace {
constexpr char kFieldUrl[] = "imagesearch/field";  // as in grpc_status.cc
}  // namespace

absl::Status FromGrpcStatus(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  // Codes of gRPC, google.rpc and absl are the same numbers.
  absl::Status result(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
  google::rpc::Status details;
  if (status.error_details().empty() || !details.ParseFromString(status.error_details())) {
    return result;
  }
  std::optional<absl::Duration> retry_after;
  std::string field;
  for (const auto& detail : details.details()) {
    google::rpc::ErrorInfo info;
    google::rpc::RetryInfo retry;
    google::rpc::BadRequest bad;
    if (detail.UnpackTo(&info)) {
      result = Error(result.code(), info.reason(), result.message());
    } else if (detail.UnpackTo(&retry)) {
      retry_after = absl::Seconds(retry.retry_delay().seconds()) +
                    absl::Nanoseconds(retry.retry_delay().nanos());
    } else if (detail.UnpackTo(&bad) && bad.field_violations_size() > 0) {
      field = bad.field_violations(0).field();
    }
  }
  if (!field.empty()) result.SetPayload(kFieldUrl, absl::Cord(field));
  return retry_after ? WithRetryAfter(result, *retry_after) : result;
}

}  // namespace imagesearch::server
