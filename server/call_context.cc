// Request ids, trace context and priority from what the caller sent.
#include "server/call_context.h"

#include <algorithm>

#include "absl/random/random.h"
#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_format.h"
#include "base/error.h"

namespace imagesearch::server {
namespace {

bool IsUsableRequestId(absl::string_view id) {
  return !id.empty() && id.size() <= 128 &&
         std::all_of(id.begin(), id.end(), [](char c) { return absl::ascii_isgraph(c); });
}

// W3C Trace Context, section 3.2: version-traceid-parentid-flags in lower-case hex.
bool IsTraceparent(absl::string_view text) {
  if (text.size() < 55 || text.size() > 128) return false;
  for (size_t i = 0; i < 55; ++i) {
    const bool dash = i == 2 || i == 35 || i == 52;
    const char c = text[i];
    if (dash ? c != '-' : !(absl::ascii_isdigit(c) || (c >= 'a' && c <= 'f'))) return false;
  }
  // A later version may say more. It goes into logs and on to the writer, as metadata.
  return std::all_of(text.begin() + 55, text.end(), [](char c) { return absl::ascii_isgraph(c); });
}

std::string NewRequestId() {
  static thread_local absl::BitGen random;
  return absl::StrFormat("%016x", absl::Uniform<uint64_t>(random));
}

}  // namespace

absl::Status ReadCallHeaders(absl::string_view request_id, absl::string_view traceparent,
                             absl::string_view priority, CallContext* call) {
  call->request_id = IsUsableRequestId(request_id) ? std::string(request_id) : NewRequestId();
  if (IsTraceparent(traceparent)) call->traceparent = std::string(traceparent);
  if (priority.empty()) return absl::OkStatus();
  if (priority == "interactive") {
    call->priority = encoder::Priority::kInteractive;
  } else if (priority == "bulk") {
    call->priority = encoder::Priority::kBulk;
  } else {
    return InvalidArgument("BAD_PRIORITY", "imagesearch-priority is interactive or bulk");
  }
  return absl::OkStatus();
}

}  // namespace imagesearch::server
