// UpsertStream: reads as fast as images can be encoded and written, never refuses for a full queue,
// and acknowledges what is on disk.
#ifndef IMAGESEARCH_SERVER_GRPC_UPSERT_STREAM_H_
#define IMAGESEARCH_SERVER_GRPC_UPSERT_STREAM_H_

#include <cstdint>
#include <memory>
#include <unordered_set>

#include "absl/base/thread_annotations.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "grpcpp/grpcpp.h"
#include "server/metrics.h"
#include "server/security/client_shares.h"
#include "server/security/guard.h"
#include "server/server_state.h"
#include "server/worker_pool.h"

namespace imagesearch::server {

class UpsertStreamCall;

struct UpsertStreamOptions {
  int max_streams = 64;
  // Of one stream, between reading and acknowledgement.
  int window_images = 256;
  uint64_t window_bytes = 16u << 20;
  // Images of one write to the database.
  int max_commit = 256;
  int max_client_streams = 64;  // of one client
};

// All streams of a server. Messages of one stream are applied in the order in which they came;
// streams share the encoder's batches and the log's syncs. Thread-safe.
class UpsertStreams {
 public:
  // `state`, `metrics` and `guard` must outlive this.
  UpsertStreams(const UpsertStreamOptions& options, ServerState* state, Metrics* metrics,
                const Guard* guard);
  // The gRPC server must be gone: no stream is open.
  ~UpsertStreams();

  // The reactor of a new stream; it deletes itself. Refused with RESOURCE_EXHAUSTED when too many
  // are open, UNAVAILABLE while starting or draining, or as Access says.
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* Start(
      grpc::CallbackServerContext* context);

  // From now on streams read no more; what was read is written and acknowledged, then they end
  // UNAVAILABLE.
  void Drain();

  int open() const;

 private:
  friend class UpsertStreamCall;

  void Remove(UpsertStreamCall* call);

  const UpsertStreamOptions options_;
  ServerState& state_;
  Metrics& metrics_;
  const Guard& guard_;
  ClientShares<1> shares_;  // streams of each client

  mutable Mutex mutex_;
  std::unordered_set<UpsertStreamCall*> calls_ ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;

  WorkerPool pool_;  // last: its tasks use the members above
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_GRPC_UPSERT_STREAM_H_
