// Counting while reading: neither a chunked body nor a form can pass the limit.
#include "server/http/request_body.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace imagesearch::server {
namespace {

constexpr size_t kMaxParts = 1024;
constexpr size_t kPartOverhead = 256;  // bytes counted for each part beside its content

absl::Status TooLarge(uint64_t limit) {
  return InvalidArgument("BODY_TOO_LARGE",
                         absl::StrCat("the request body is larger than ", limit, " bytes"));
}

}  // namespace

absl::Status RequestBody::CheckHeaders(const httplib::Request& request) {
  const std::string encoding = absl::AsciiStrToLower(request.get_header_value("Content-Encoding"));
  if (!encoding.empty() && encoding != "identity") {
    return InvalidArgument("UNSUPPORTED_CONTENT", "compressed request bodies are not accepted");
  }
  const std::string type = absl::AsciiStrToLower(request.get_header_value("Content-Type"));
  is_form_ = absl::StartsWith(type, "multipart/form-data");
  if (!is_form_ && !absl::StartsWith(type, "application/json")) {
    return InvalidArgument("UNSUPPORTED_CONTENT",
                           "the Content-Type must be application/json or multipart/form-data");
  }
  uint64_t length = 0;
  const std::string declared = request.get_header_value("Content-Length");
  if (!declared.empty() && !absl::SimpleAtoi(declared, &length)) {
    return InvalidArgument("BAD_HEADER", "the Content-Length is not a number");
  }
  return length > max_bytes_ ? TooLarge(max_bytes_) : absl::OkStatus();
}

bool RequestBody::Take(size_t bytes) {
  if (bytes_ + bytes > max_bytes_) {
    refusal_ = TooLarge(max_bytes_);
    return false;
  }
  if (!budget_.TryTake(bytes)) {
    refusal_ = Overloaded("OVERLOADED", "too many request bodies are being received",
                          absl::Milliseconds(500));
    return false;
  }
  bytes_ += bytes;
  return true;
}

absl::Status RequestBody::Read(const httplib::Request& request,
                               const httplib::ContentReader& reader) {
  if (absl::Status status = CheckHeaders(request); !status.ok()) return status;
  bool read = false;
  if (is_form_) {
    read = reader(
        [&](const httplib::MultipartFormData& part) {
          if (parts_.size() == kMaxParts) {
            refusal_ = InvalidArgument(
                "BAD_FORM", absl::StrCat("the form has more than ", kMaxParts, " parts"));
            return false;
          }
          if (!Take(kPartOverhead + part.name.size())) return false;
          parts_.push_back({part.name, ""});
          return true;
        },
        [&](const char* data, size_t size) {
          if (parts_.empty() || !Take(size)) return false;
          parts_.back().content.append(data, size);
          return true;
        });
  } else {
    read = reader([&](const char* data, size_t size) {
      if (!Take(size)) return false;
      json_.append(data, size);
      return true;
    });
  }
  if (!refusal_.ok()) return refusal_;
  if (!read) {
    return is_form_ ? InvalidArgument("BAD_FORM", "the form is incomplete or malformed")
                    : Error(absl::StatusCode::kCancelled, "INCOMPLETE_BODY",
                            "the request body ended early or came too slowly");
  }
  return absl::OkStatus();
}

}  // namespace imagesearch::server
