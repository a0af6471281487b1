// The unary methods of the contract as a table, so that every transport (gRPC, HTTP) serves all of
// them alike.
#ifndef IMAGESEARCH_SERVER_METHODS_H_
#define IMAGESEARCH_SERVER_METHODS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "google/protobuf/message.h"
#include "server/call_context.h"
#include "server/server_state.h"

namespace imagesearch::server {

// Where a call waits and runs: calls that need no encoding are never held up by those that do, nor
// interactive ones by bulk.
enum class Lane { kIndex, kEncode, kBulk };

// What a call may do, for access control.
enum class Scope { kRead, kWrite, kAdmin };

struct Method {
  absl::string_view service;  // "imagesearch.v1.ImageSearch"
  absl::string_view name;     // "Search"
  Scope scope;
  // Default instances: request->New(arena) makes a message to parse into.
  const google::protobuf::Message* request;
  const google::protobuf::Message* response;
  Lane (*lane)(const google::protobuf::Message& request, const CallContext& call);
  // The handler (server/handlers/handlers.h). It may consume the request.
  absl::Status (*run)(ServerState& state, CallContext& call, google::protobuf::Message* request,
                      google::protobuf::Message* response);
};

// All unary methods of both services.
absl::Span<const Method> Methods();

// The method whose answer is a stream: its messages go through CallContext::send, and `response` of
// the call stays empty.
const Method& FindDuplicatesMethod();

// Not of the contract: one image of a GetRequest's collection and first id as a v1::StoredImage
// through CallContext::send, with its upload when asked for, however large. For transports that
// offer pictures by path.
const Method& StoredImageMethod();

// By service and name; null when there is none.
const Method* FindMethod(absl::string_view service, absl::string_view name);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_METHODS_H_
