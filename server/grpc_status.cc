// absl::Status -> google.rpc.Status -> grpc::Status, and -> imagesearch.v1.Status.
#include "server/grpc_status.h"

#include <optional>
#include <string>

#include "absl/strings/cord.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "google/rpc/error_details.pb.h"
#include "grpcpp/support/error_details.h"

namespace imagesearch::server {
namespace {

constexpr char kFieldUrl[] = "imagesearch/field";
constexpr size_t kMaxMessageBytes = 1024;

// At most kMaxMessageBytes, cut between characters.
std::string BoundedMessage(absl::string_view message) {
  if (message.size() <= kMaxMessageBytes) return std::string(message);
  size_t end = kMaxMessageBytes;
  while (end > 0 && (static_cast<unsigned char>(message[end]) & 0xC0) == 0x80) --end;
  return absl::StrCat(message.substr(0, end), "...");
}

std::string FieldOf(const absl::Status& status) {
  if (auto payload = status.GetPayload(kFieldUrl)) return std::string(*payload);
  return "";
}

}  // namespace

absl::Status AtField(const absl::Status& status, absl::string_view field) {
  if (status.ok()) return status;
  const std::string inner = FieldOf(status);
  absl::Status result(status.code(),
                      absl::StrCat(field, inner.empty() ? ": " : ".", status.message()));
  status.ForEachPayload([&result](absl::string_view url, const absl::Cord& payload) {
    result.SetPayload(url, payload);
  });
  result.SetPayload(
      kFieldUrl, absl::Cord(inner.empty() ? std::string(field) : absl::StrCat(field, ".", inner)));
  return result;
}

google::rpc::Status RpcStatus(const absl::Status& status) {
  google::rpc::Status result;
  result.set_code(static_cast<int>(status.code()));
  if (status.ok()) return result;
  result.set_message(BoundedMessage(status.message()));
  google::rpc::ErrorInfo info;
  info.set_reason(ReasonOf(status));
  info.set_domain("imagesearch");
  result.add_details()->PackFrom(info);
  if (const std::optional<absl::Duration> delay = RetryAfterOf(status)) {
    google::rpc::RetryInfo retry;
    const int64_t ms = absl::ToInt64Milliseconds(*delay);
    retry.mutable_retry_delay()->set_seconds(ms / 1000);
    retry.mutable_retry_delay()->set_nanos(static_cast<int32_t>(ms % 1000 * 1'000'000));
    result.add_details()->PackFrom(retry);
  }
  if (const std::string field = FieldOf(status);
      !field.empty() && absl::IsInvalidArgument(status)) {
    google::rpc::BadRequest bad;
    google::rpc::BadRequest::FieldViolation* violation = bad.add_field_violations();
    violation->set_field(field);
    violation->set_description(result.message());
    result.add_details()->PackFrom(bad);
  }
  return result;
}

grpc::Status GrpcStatus(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  grpc::Status result;
  grpc::SetErrorDetails(RpcStatus(status), &result);
  return result;
}

void FillStatus(const absl::Status& status, v1::Status* out) {
  if (status.ok()) {
    out->Clear();
    return;
  }
  out->set_code(static_cast<int>(status.code()));
  out->set_message(BoundedMessage(status.message()));
  out->set_reason(ReasonOf(status));
}

}  // namespace imagesearch::server
