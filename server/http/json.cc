// The proto3 JSON mapping comes from protobuf; here are its errors made ours.
#include "server/http/json.h"

#include <algorithm>
#include <cstdint>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "google/protobuf/util/json_util.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "server/grpc_status.h"
#include "server/utf8.h"

namespace imagesearch::server {
namespace {

constexpr size_t kMaxParserMessage = 300;  // of protobuf's own words, which quote the input
constexpr int kMaxNesting = 100;           // protobuf's limit for binary messages

// protobuf's parser recurses: nesting is bounded before it starts.
bool NestsTooDeep(absl::string_view json) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < json.size(); ++i) {
    const char c = json[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kMaxNesting) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

std::string OneLine(absl::string_view text) {
  std::string line(text.substr(0, kMaxParserMessage));
  while (!IsUtf8(line)) line.pop_back();
  std::replace_if(
      line.begin(), line.end(), [](unsigned char c) { return c < 0x20; }, ' ');
  return line;
}

}  // namespace

absl::Status FromJson(absl::string_view json, google::protobuf::Message* message) {
  if (!IsUtf8(json)) return InvalidArgument("BAD_JSON", "the JSON is not valid UTF-8");
  if (NestsTooDeep(json)) {
    return InvalidArgument("BAD_JSON", absl::StrCat("the JSON nests deeper than ", kMaxNesting));
  }
  const auto status = google::protobuf::util::JsonStringToMessage(
      google::protobuf::StringPiece(json.data(), json.size()), message);
  if (status.ok()) return absl::OkStatus();
  const auto words = status.message();
  return InvalidArgument(
      "BAD_JSON", absl::StrCat("the JSON is not a valid ", message->GetDescriptor()->full_name(),
                               ": ", OneLine(absl::string_view(words.data(), words.size()))));
}

absl::StatusOr<std::string> ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.always_print_primitive_fields = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  if (status.ok()) return json;
  return absl::InternalError(
      absl::StrCat("no JSON of a ", message.GetDescriptor()->full_name(), ": ",
                   absl::string_view(status.message().data(), status.message().size())));
}

std::string ErrorJson(const absl::Status& status) {
  const google::rpc::Status rpc = RpcStatus(status);
  // Without these the linker may drop the messages that `details` holds.
  google::rpc::ErrorInfo::descriptor();
  std::string json;
  google::protobuf::util::JsonPrintOptions options;
  if (!google::protobuf::util::MessageToJsonString(rpc, &json, options).ok()) {
    return absl::StrCat("{\"code\":", static_cast<int>(status.code()),
                        ",\"message\":\"\",\"details\":[]}");
  }
  return json;
}

int HttpStatus(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
      return 200;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kFailedPrecondition:
    case absl::StatusCode::kOutOfRange:
      return 400;
    case absl::StatusCode::kUnauthenticated:
      return 401;
    case absl::StatusCode::kPermissionDenied:
      return 403;
    case absl::StatusCode::kNotFound:
      return 404;
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kAborted:
      return 409;
    case absl::StatusCode::kResourceExhausted:
      return 429;
    case absl::StatusCode::kCancelled:
      return 499;
    case absl::StatusCode::kUnimplemented:
      return 501;
    case absl::StatusCode::kUnavailable:
      return 503;
    case absl::StatusCode::kDeadlineExceeded:
      return 504;
    default:
      return 500;
  }
}

}  // namespace imagesearch::server
