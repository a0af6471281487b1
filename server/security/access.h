// Who calls, and what they may do: API keys with scopes, collection lists, rates and concurrency.
#ifndef IMAGESEARCH_SERVER_SECURITY_ACCESS_H_
#define IMAGESEARCH_SERVER_SECURITY_ACCESS_H_

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/api_key.h"
#include "base/mutex.h"
#include "google/protobuf/message.h"
#include "prometheus/collectable.h"
#include "server/call_context.h"
#include "server/methods.h"
#include "server/security/periodic.h"
#include "server/security/token_bucket.h"

namespace imagesearch::server {

// A key in force. Immutable, but for its use, which outlives reloads of the file.
struct ActiveKey {
  struct Use {
    TokenBucket bucket;  // thread-safe
    std::atomic<int> calls{0};
  };

  ApiKeyEntry entry;
  std::shared_ptr<Use> use;
};

// What a key is asked for: which collections, and how many items (searches of a batch, images of an
// upsert, inputs of an encode; at least 1).
struct Demand {
  std::vector<std::string> collections;  // as named; the default one by its name
  bool whole_server = false;             // it is about all of them, or none
  int items = 1;
};
Demand DemandOf(const google::protobuf::Message& request);

// Thread-safe.
class Access : public prometheus::Collectable {
 public:
  // `key_file` empty: everybody may do everything. Otherwise the file is looked at every `interval`
  // and what it says then is in force; a file that can't be read or parsed is refused, and the keys
  // before stay in force. Fails when the first read does.
  static absl::StatusOr<std::shared_ptr<Access>> Open(const std::string& key_file,
                                                      absl::Duration interval);

  bool needs_keys() const { return !key_file_.empty(); }

  // Before the request is read. `authorization` is the header or metadata value. Sets call->key and
  // call->client. UNAUTHENTICATED NO_KEY, BAD_KEY or KEY_EXPIRED; nothing tells whether an id
  // exists.
  absl::Status Identify(absl::string_view authorization, CallContext* call) const;

  // PERMISSION_DENIED SCOPE or COLLECTION_DENIED.
  static absl::Status Authorize(Scope scope, const Demand& demand, const CallContext& call);
  static absl::Status Authorize(const ActiveKey& key, Scope scope, const Demand& demand);

  // For calls that last: the key as it is in force now, null where none is needed; UNAUTHENTICATED
  // when it was revoked, replaced or has expired.
  absl::StatusOr<std::shared_ptr<const ActiveKey>> Recheck(const CallContext& call) const;
  // Takes items from the key's rate: zero, or nothing was taken and when to ask again.
  static absl::Duration Take(const ActiveKey& key, int items);

  // Takes a place among the key's calls, until `call` goes, and the items from its rate.
  // RESOURCE_EXHAUSTED KEY_CONCURRENCY or KEY_RATE with retry advice. `items` may be 0: the caller
  // meters them itself (streams).
  absl::Status Meter(int items, CallContext* call) const;

  // Looks at the file now. OK when it is in force.
  absl::Status Reload();

  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  using Keys = std::map<std::string, std::shared_ptr<const ActiveKey>>;

  explicit Access(std::string key_file) : key_file_(std::move(key_file)) {}
  absl::StatusOr<std::shared_ptr<const Keys>> Load(const std::string& text);

  const std::string key_file_;

  mutable Mutex mutex_;
  std::shared_ptr<const Keys> keys_ ABSL_GUARDED_BY(mutex_);
  std::string text_ ABSL_GUARDED_BY(mutex_);  // of the file, as last tried
  absl::Status refusal_ ABSL_GUARDED_BY(mutex_);

  std::unique_ptr<Periodic> watch_;  // last: it uses the members above
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_SECURITY_ACCESS_H_
