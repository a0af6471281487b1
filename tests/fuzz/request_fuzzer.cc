// Any bytes as a request: on the wire, as JSON and as a form. What does not parse is
// INVALID_ARGUMENT with a reason; what does survives the way to JSON and back. The first byte
// chooses. Built and run by tests/fuzz/run.sh.
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/error.h"
#include "google/protobuf/util/message_differencer.h"
#include "imagesearch/v1/imagesearch.pb.h"
#include "server/grpc/request_parser.h"
#include "server/http/form.h"
#include "server/http/json.h"
#include "server/utf8.h"

namespace {

using google::protobuf::Message;
namespace server = imagesearch::server;

std::unique_ptr<Message> NewRequest(uint8_t choice) {
  switch (choice % 3) {
    case 0:
      return std::make_unique<imagesearch::v1::SearchRequest>();
    case 1:
      return std::make_unique<imagesearch::v1::UpsertRequest>();
    default:
      return std::make_unique<imagesearch::v1::SearchBatchRequest>();
  }
}

void CheckRefusal(const absl::Status& status) {
  if (status.ok()) return;
  if (!absl::IsInvalidArgument(status) || imagesearch::ReasonOf(status).empty() ||
      !server::IsUtf8(status.message())) {
    std::abort();
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const absl::string_view bytes(reinterpret_cast<const char*>(data) + 2, size - 2);
  std::unique_ptr<Message> request = NewRequest(data[1]);
  switch (data[0] % 3) {
    case 0:
      if (!request->ParseFromArray(bytes.data(), static_cast<int>(bytes.size()))) {
        const absl::Status status = server::ExplainParseFailure(bytes, *request->GetDescriptor());
        if (status.ok()) std::abort();
        CheckRefusal(status);
      }
      break;
    case 1: {
      const absl::Status status = server::FromJson(bytes, request.get());
      CheckRefusal(status);
      if (!status.ok()) break;
      const auto json = server::ToJson(*request);
      std::unique_ptr<Message> again = NewRequest(data[1]);
      if (json.ok() && !server::FromJson(*json, again.get()).ok()) std::abort();
      break;
    }
    default: {
      // Parts are split by 0x01, name and content by '='.
      std::vector<server::FormPart> parts(1);
      bool in_name = true;
      for (const char c : bytes) {
        if (c == 1) {
          parts.emplace_back();
          in_name = true;
        } else if (in_name && c == '=') {
          in_name = false;
        } else {
          (in_name ? parts.back().name : parts.back().content).push_back(c);
        }
      }
      CheckRefusal(server::FromForm(parts, request.get()));
    }
  }
  return 0;
}
