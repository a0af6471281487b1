// Stores any number of images over UpsertStream: bounded window, resumes after a lost connection, a
// restarted or an overloaded server.
#ifndef IMAGESEARCH_CLIENT_UPLOADER_H_
#define IMAGESEARCH_CLIENT_UPLOADER_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/mutex.h"
#include "client/client.h"
#include "grpcpp/client_context.h"
#include "imagesearch/v1/imagesearch.pb.h"

namespace imagesearch::client {

struct UploaderOptions {
  std::string collection;  // empty: default
  bool create_only = false;
  v1::OnDuplicate on_duplicate = v1::ON_DUPLICATE_KEEP;
  v1::DuplicateTier duplicate_tier = v1::DUPLICATE_TIER_UNSPECIFIED;
  // Images sent or waiting without an ack; Add() blocks beyond either bound. The window keeps the
  // server's encoder in full batches while acks travel.
  size_t window_images = 128;
  size_t window_bytes = 48u << 20;
  // Fails what is left when no ack has come for this long, however often the server was tried.
  absl::Duration give_up_after = absl::Minutes(5);
  // Attempts of an image that the server answers with UNAVAILABLE or RESOURCE_EXHAUSTED (for
  // example while its disk is full).
  int item_attempts = 6;
};

// Each image that was added gets exactly one call of `on_done`, with the outcome of its last
// attempt. An image is sent again when its connection ends before its ack, so give ids (or leave
// them empty for the content hash): then the second write equals the first.
// Add() may be called from several threads. `on_done` runs on an internal thread, one call at a
// time, and must not call Add() or Finish().
class Uploader {
 public:
  struct Outcome {
    uint64_t token = 0;  // as given to Add()
    std::string id;
    absl::Status status;
    uint64_t version = 0;
    bool created = false;
    bool skipped = false;                      // a duplicate, not stored
    std::vector<v1::DuplicateHit> duplicates;  // as on_duplicate asks
  };
  using OnDone = std::function<void(const Outcome&)>;

  // `client` must outlive the uploader.
  Uploader(const Client* client, UploaderOptions options, OnDone on_done);
  // Cancels what has no ack yet (on_done gets CANCELLED) unless Finish() was called.
  ~Uploader();

  Uploader(const Uploader&) = delete;
  Uploader& operator=(const Uploader&) = delete;

  // Queues one image; blocks while the window is full. An error means that the job has ended: the
  // image was not taken and on_done will not be called for it.
  absl::Status Add(uint64_t token, v1::Image image);

  // Waits for every ack. The error that ended the job, if one did.
  absl::Status Finish();

  // Ends the job: images without an ack get CANCELLED.
  void Cancel();

  // Connections opened so far.
  int connections() const;

 private:
  struct Pending {
    uint64_t token = 0;
    v1::Image image;
    size_t bytes = 0;
    int attempts = 0;                       // answers that asked for another attempt
    bool sent = false;                      // on the present stream
    CondVar::Clock::time_point not_before;  // of the next attempt
  };

  // The internal thread: connection after connection until nothing is left.
  void Run();
  // One connection, from open to end; how the server or the network ended it.
  absl::Status RunStream();
  void WriteAll(Client::UpsertStream* stream);
  void ReadAcks(Client::UpsertStream* stream);
  // The next image to send; null when there is none now.
  std::pair<const uint64_t, Pending>* NextToSend() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndJob(const absl::Status& status) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void EndJobIfStuck() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void FailWhatIsLeft();

  // Constant after construction.
  const Client* const client_;
  const UploaderOptions options_;
  const OnDone on_done_;

  mutable Mutex mutex_;
  CondVar changed_;
  std::map<uint64_t, Pending> pending_ ABSL_GUARDED_BY(mutex_);  // by sequence
  size_t pending_bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  uint64_t next_sequence_ ABSL_GUARDED_BY(mutex_) = 1;
  bool closed_ ABSL_GUARDED_BY(mutex_) = false;        // no more Add()
  bool stream_ended_ ABSL_GUARDED_BY(mutex_) = false;  // the reader of the present stream is done
  absl::Status ended_ ABSL_GUARDED_BY(mutex_);         // why the job ended early
  CondVar::Clock::time_point last_progress_ ABSL_GUARDED_BY(mutex_);
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;  // of the present stream
  int connections_ ABSL_GUARDED_BY(mutex_) = 0;

  std::thread thread_;  // joined by Finish() or the destructor
};

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_UPLOADER_H_
