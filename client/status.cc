// See status.h.
#include "client/status.h"

#include <cstdint>
#include <optional>
#include <string>

#include "absl/strings/numbers.h"
#include "base/error.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"

namespace imagesearch::client {
namespace {

absl::Status Make(int code, absl::string_view reason, absl::string_view message,
                  std::optional<absl::Duration> retry_after) {
  // Codes of gRPC, google.rpc and absl are the same numbers.
  const auto canonical = static_cast<absl::StatusCode>(code);
  absl::Status status =
      reason.empty() ? absl::Status(canonical, message) : Error(canonical, reason, message);
  return retry_after ? WithRetryAfter(status, *retry_after) : status;
}

}  // namespace

absl::Status FromGrpc(const grpc::Status& status, const grpc::ClientContext* context) {
  if (status.ok()) return absl::OkStatus();
  std::string reason;
  std::optional<absl::Duration> retry_after;
  google::rpc::Status details;
  if (!status.error_details().empty() && details.ParseFromString(status.error_details())) {
    for (const auto& detail : details.details()) {
      google::rpc::ErrorInfo info;
      google::rpc::RetryInfo retry;
      if (detail.UnpackTo(&info)) {
        reason = info.reason();
      } else if (detail.UnpackTo(&retry)) {
        retry_after = absl::Seconds(retry.retry_delay().seconds()) +
                      absl::Nanoseconds(retry.retry_delay().nanos());
      }
    }
  }
  if (!retry_after && context != nullptr) {
    const auto& trailers = context->GetServerTrailingMetadata();
    const auto it = trailers.find("grpc-retry-pushback-ms");
    int64_t milliseconds = 0;
    if (it != trailers.end() &&
        absl::SimpleAtoi(absl::string_view(it->second.data(), it->second.size()), &milliseconds) &&
        milliseconds >= 0) {
      retry_after = absl::Milliseconds(milliseconds);
    }
  }
  return Make(status.error_code(), reason, status.error_message(), retry_after);
}

absl::Status FromItem(const v1::Status& status) {
  if (status.code() == 0) return absl::OkStatus();
  return Make(status.code(), status.reason(), status.message(), std::nullopt);
}

}  // namespace imagesearch::client
