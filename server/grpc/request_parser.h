// Parses the raw bytes of a call, so that what is wrong with them is the caller's error: generated
// gRPC code would answer INTERNAL.
#ifndef IMAGESEARCH_SERVER_GRPC_REQUEST_PARSER_H_
#define IMAGESEARCH_SERVER_GRPC_REQUEST_PARSER_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "google/protobuf/message.h"
#include "grpcpp/support/byte_buffer.h"

namespace imagesearch::server {

// INVALID_ARGUMENT INVALID_UTF8 (naming the field) when the bytes are a message but for a string
// that is not UTF-8, else BAD_REQUEST.
absl::Status ParseRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message* request);

// Why `bytes` did not parse as a message of this type: the two errors above.
absl::Status ExplainParseFailure(absl::string_view bytes, const google::protobuf::Descriptor& type);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_GRPC_REQUEST_PARSER_H_
