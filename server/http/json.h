// Messages of the contract as JSON (the proto3 JSON mapping), and errors as HTTP has them.
#ifndef IMAGESEARCH_SERVER_HTTP_JSON_H_
#define IMAGESEARCH_SERVER_HTTP_JSON_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"

namespace imagesearch::server {

// Fills `message`, whose fields may be named in lowerCamelCase or as in the .proto.
// INVALID_ARGUMENT BAD_JSON for anything else, unknown fields included.
absl::Status FromJson(absl::string_view json, google::protobuf::Message* message);

// lowerCamelCase; scalar fields are there even when they are 0, false or empty; 64-bit integers are
// strings and bytes base64, as the mapping wants it.
absl::StatusOr<std::string> ToJson(const google::protobuf::Message& message);

// {"code": number of google.rpc.Code, "message": ..., "details": [ErrorInfo, ...]}:
// google.rpc.Status, with the same details as over gRPC.
std::string ErrorJson(const absl::Status& status);

// As google.rpc.Code says for each code.
int HttpStatus(absl::StatusCode code);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HTTP_JSON_H_
