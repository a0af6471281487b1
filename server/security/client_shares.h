// What each client holds of the bounded things of a server, so that one can't take all of them.
#ifndef IMAGESEARCH_SERVER_SECURITY_CLIENT_SHARES_H_
#define IMAGESEARCH_SERVER_SECURITY_CLIENT_SHARES_H_

#include <array>
#include <cstdint>
#include <string>
#include <unordered_map>

#include "absl/base/thread_annotations.h"
#include "absl/strings/string_view.h"
#include "base/mutex.h"

namespace imagesearch::server {

// Whom a peer counts as: the address without its port; of IPv6 the first 64 bits, which one
// household has. `peer` is gRPC's form (ipv4:1.2.3.4:5, ipv6:%5B::1%5D:5) or HOST:PORT. What is
// none of those counts as itself.
std::string ClientOfPeer(absl::string_view peer);

// Thread-safe. Clients without anything held take no memory.
template <size_t kinds>
class ClientShares {
 public:
  // False, and nothing taken, when `client` would hold more than `limit` of `kind`.
  bool Take(const std::string& client, size_t kind, uint64_t amount, uint64_t limit) {
    MutexLock lock(&mutex_);
    const auto found = held_.find(client);
    const uint64_t held = found == held_.end() ? 0 : found->second[kind];
    if (held + amount > limit) return false;
    held_[client][kind] += amount;
    return true;
  }

  void Give(const std::string& client, size_t kind, uint64_t amount) {
    MutexLock lock(&mutex_);
    const auto found = held_.find(client);
    if (found == held_.end()) return;
    found->second[kind] -= amount;
    for (const uint64_t held : found->second) {
      if (held > 0) return;
    }
    held_.erase(found);
  }

  size_t clients() const {
    MutexLock lock(&mutex_);
    return held_.size();
  }

 private:
  mutable Mutex mutex_;
  std::unordered_map<std::string, std::array<uint64_t, kinds>> held_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_SECURITY_CLIENT_SHARES_H_
