// The HTTP API described: OpenAPI 3.0 from the descriptors of the contract, comments included.
#ifndef IMAGESEARCH_SERVER_HTTP_OPENAPI_H_
#define IMAGESEARCH_SERVER_HTTP_OPENAPI_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace imagesearch::server {

// Where a method is served: "SearchBatch" -> "/v1/search-batch".
std::string HttpPath(absl::string_view method);

// `descriptors`: a serialised google.protobuf.FileDescriptorSet with imports and source info.
// Describes every method of Methods().
absl::StatusOr<std::string> OpenApi(absl::string_view descriptors, absl::string_view version);

// The descriptors of this build's contract.
absl::string_view ContractDescriptors();

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HTTP_OPENAPI_H_
