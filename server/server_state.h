// What all calls share: the limits, and the encoder and database once they serve.
#ifndef IMAGESEARCH_SERVER_SERVER_STATE_H_
#define IMAGESEARCH_SERVER_SERVER_STATE_H_

#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/limits.h"
#include "base/mutex.h"
#include "base/steady_time.h"
#include "encoder/encoder.h"
#include "index/database.h"
#include "index/rank/relevance.h"
#include "server/model_loader.h"
#include "server/models.h"
#include "server/operations/operations.h"

namespace imagesearch::server {

// The two rooms that a server joins. Both are thread-safe and live as long as any call that holds
// this.
struct Backend {
  // The default model's. What belongs to a collection is encoded by Target::encoder.
  std::shared_ptr<encoder::Encoder> encoder;
  // The same object when it batches, for its figures; null otherwise.
  encoder::BatchingEncoder* batching = nullptr;
  std::shared_ptr<index::Database> database;
  // All models, the default one included. Server::Serve makes it of `encoder` where it is null.
  std::shared_ptr<Models> models;
  // Opens further models; null: none can be loaded.
  std::shared_ptr<ModelLoader> loader;
  // Where the log of operations is kept; empty: nowhere.
  std::string data_dir;
  // Server::Serve makes it. Its work ends before the rest does.
  std::shared_ptr<Operations> operations;
};

struct ServerFacts {
  std::string version;     // of the release
  std::string simd_level;  // of the index kernels
  int encoder_threads = 0;
  // Server::Start takes these from the configuration; empty or 0: none.
  std::string backup_dir;
  std::string models_dir;
  std::string source_dir;
  uint64_t models_memory_bytes = 0;
  std::string role;    // writer, reader or stateless
  std::string writer;  // of a reader
};

// Thread-safe.
class ServerState {
 public:
  ServerState(const Limits& limits, ServerFacts facts)
      : limits_(limits), facts_(std::move(facts)) {}

  const Limits& limits() const { return limits_; }
  const ServerFacts& facts() const { return facts_; }
  absl::Time start_time() const { return start_time_; }  // of the wall clock
  absl::Time started() const { return started_; }        // of SteadyNow()

  // UNAVAILABLE NOT_READY with retry advice until SetBackend was called.
  absl::StatusOr<std::shared_ptr<const Backend>> backend() const;
  void SetBackend(std::shared_ptr<const Backend> backend);

  // What relevance is judged by. Thread-safe.
  index::Backgrounds& backgrounds() { return backgrounds_; }

  // What a starting server does.
  std::string progress() const;
  void SetProgress(std::string progress);

  // Whether queries and writes are served; what health service `ready` says.
  bool ready() const;
  void SetReady(bool ready);

 private:
  const Limits limits_;
  const ServerFacts facts_;
  const absl::Time start_time_ = absl::Now();
  const absl::Time started_ = SteadyNow();
  index::Backgrounds backgrounds_;

  mutable Mutex mutex_;
  std::shared_ptr<const Backend> backend_ ABSL_GUARDED_BY(mutex_);
  std::string progress_ ABSL_GUARDED_BY(mutex_);
  bool ready_ ABSL_GUARDED_BY(mutex_) = false;
};

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_SERVER_STATE_H_
