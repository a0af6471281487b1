#include "server/reply_budget.h"

#include <algorithm>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace imagesearch::server {
namespace {

constexpr absl::Duration kRetryAfter = absl::Seconds(1);

}  // namespace

ReplyBudget::ReplyBudget(uint64_t limit, double client_share)
    : limit_(limit),
      client_limit_(static_cast<uint64_t>(static_cast<double>(limit) * client_share)) {}

absl::Status ReplyBudget::Take(uint64_t bytes, bool always, CallContext* call) {
  const std::string client = call->client;
  const uint64_t most =
      always ? std::numeric_limits<uint64_t>::max() / 2 : std::max(client_limit_, bytes);
  if (!shares_.Take(client, 0, bytes, most)) {
    return WithRetryAfter(
        Error(absl::StatusCode::kResourceExhausted, "CLIENT_SHARE",
              absl::StrCat("replies of ", client_limit_ >> 20,
                           " MiB wait for this client to read them: read, then ask again")),
        kRetryAfter);
  }
  const uint64_t before = bytes_.fetch_add(bytes);
  if (!always && before + bytes > limit_) {
    bytes_.fetch_sub(bytes);
    shares_.Give(client, 0, bytes);
    return WithRetryAfter(
        Error(absl::StatusCode::kResourceExhausted, "OVERLOADED",
              absl::StrCat("replies of ", before >> 20, " MiB wait for clients to read them")),
        kRetryAfter);
  }
  // Given back with the call.
  call->reply = std::shared_ptr<void>(nullptr, [self = shared_from_this(), client, bytes](void*) {
    self->bytes_.fetch_sub(bytes);
    self->shares_.Give(client, 0, bytes);
  });
  return absl::OkStatus();
}

}  // namespace imagesearch::server
