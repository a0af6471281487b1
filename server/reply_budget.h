// Bounds the replies that wait in memory for clients that do not read them: gRPC keeps a reply
// until flow control lets it go, and a client decides when that is.
#ifndef IMAGESEARCH_SERVER_REPLY_BUDGET_H_
#define IMAGESEARCH_SERVER_REPLY_BUDGET_H_

#include <atomic>
#include <cstdint>
#include <memory>

#include "absl/status/status.h"
#include "server/call_context.h"
#include "server/security/client_shares.h"

namespace imagesearch::server {

// Thread-safe. Lives as long as a reply that it has given room to.
class ReplyBudget : public std::enable_shared_from_this<ReplyBudget> {
 public:
  // `limit`: bytes of all replies; `client_share`: of these, how much one client may hold.
  ReplyBudget(uint64_t limit, double client_share);

  // Puts room for `bytes` into call->reply. RESOURCE_EXHAUSTED OVERLOADED or CLIENT_SHARE with
  // retry advice, and nothing taken, when there is none; `always` takes it all the same. A client
  // that has no reply waiting gets one of any size.
  absl::Status Take(uint64_t bytes, bool always, CallContext* call);

  uint64_t bytes() const { return bytes_.load(); }

 private:
  const uint64_t limit_;
  const uint64_t client_limit_;
  std::atomic<uint64_t> bytes_{0};
  ClientShares<1> shares_;
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_REPLY_BUDGET_H_
