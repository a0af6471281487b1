// The same front door over a Milvus cluster: this process keeps nothing, so any number of them may
// serve one cluster.
#ifndef IMAGESEARCH_INDEX_MILVUS_MILVUS_DATABASE_H_
#define IMAGESEARCH_INDEX_MILVUS_MILVUS_DATABASE_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/limits.h"
#include "index/database.h"

namespace imagesearch::index {

struct MilvusOptions {
  std::string address;  // HOST:PORT of a Milvus proxy, or of a balancer before several
  bool tls = false;
  std::string ca_file;  // PEM of the authorities that may have signed Milvus' certificate; empty:
                        // the system's
  std::string user;     // empty: no login
  std::string password;
  std::string database;  // Milvus' own notion; empty: its default
  // Starts the names of all Milvus collections of this database; letters, digits and _.
  std::string prefix = "imagesearch";
  int shards = 1;  // of new collections
  // The longest that one call to Milvus may take, where the deadline of the caller leaves more.
  absl::Duration call_timeout = absl::Seconds(10);
  // Between removals of images that expired at least kExpiredGrace ago; zero: never.
  absl::Duration sweep_interval = absl::Minutes(10);
  // How long opening waits for a Milvus that can't be reached.
  absl::Duration open_timeout = absl::InfiniteDuration();
  Limits limits;
  // What opening waits for; may be null.
  std::function<void(const std::string&)> on_progress;
  // A test's clock, for expiry; null: the wall clock.
  std::function<absl::Time()> clock;
};

// Expired images are hidden at once and deleted this much later.
inline constexpr absl::Duration kExpiredGrace = absl::Hours(1);

// "milvus://HOST:PORT" -> "HOST:PORT". INVALID_ARGUMENT otherwise.
absl::StatusOr<std::string> MilvusAddress(const std::string& url);

// Waits until Milvus answers, and makes what this database needs there. INVALID_ARGUMENT for
// unusable options, FAILED_PRECONDITION MILVUS_DENIED for a wrong user or password, UNAVAILABLE
// MILVUS_UNAVAILABLE after open_timeout.
//
// What differs from the embedded database, beyond speed:
// - A version is a timestamp of Milvus' oracle. Every read waits until Milvus has reached the
// newest version that this
//   process knows, so a process reads its own writes; those of others with WaitForVersion, or about
//   a tick later.
// - A batch is not seen as a whole: Milvus shows its rows one after the other, and a failed call
// may have written some.
// - create_only, and an upsert without a vector, read before they write: atomic within this process
// only.
// - Refused with UNIMPLEMENTED NOT_ON_MILVUS: `exact` on HNSW and IVF collections, wildcards but
// one at the end of
//   a text, geo_within, target_recall.
absl::StatusOr<std::unique_ptr<Database>> OpenMilvus(const MilvusOptions& options);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_MILVUS_MILVUS_DATABASE_H_
