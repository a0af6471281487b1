// The registry of streams.
#include "server/grpc/upsert_stream.h"

#include <limits>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "server/grpc/upsert_stream_call.h"

namespace imagesearch::server {

UpsertStreams::UpsertStreams(const UpsertStreamOptions& options, ServerState* state,
                             Metrics* metrics, const Guard* guard)
    : options_(options),
      state_(*state),
      metrics_(*metrics),
      guard_(*guard),
      // Of each stream one thread at most waits for the encoder and one for the disk.
      pool_("upsert-stream", 2 * options.max_streams, std::numeric_limits<int>::max()) {}

UpsertStreams::~UpsertStreams() = default;

grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* UpsertStreams::Start(
    grpc::CallbackServerContext* context) {
  auto call = std::make_shared<UpsertStreamCall>(this, context);
  absl::Status refusal = call->Identify();
  if (refusal.ok()) refusal = state_.backend().status();
  if (refusal.ok()) {
    MutexLock lock(&mutex_);
    if (draining_) {
      refusal = WithRetryAfter(
          Error(absl::StatusCode::kUnavailable, "DRAINING", "the server is stopping"),
          absl::Seconds(1));
    } else if (static_cast<int>(calls_.size()) >= options_.max_streams) {
      refusal = Overloaded(
          "OVERLOADED",
          absl::StrCat("the server serves at most ", options_.max_streams, " streams at a time"),
          absl::Seconds(1));
    } else if (!call->TakeShare()) {
      refusal = Overloaded(
          "CLIENT_SHARE",
          absl::StrCat("one client may have ", options_.max_client_streams, " streams at a time"),
          absl::Seconds(1));
    }
  }
  {
    MutexLock lock(&mutex_);
    calls_.insert(call.get());
    metrics_.streams().Set(static_cast<double>(calls_.size()));
  }
  UpsertStreamCall* reactor = call.get();
  if (refusal.ok()) {
    reactor->Begin();
  } else {
    reactor->Refuse(refusal);
  }
  return reactor;
}

void UpsertStreams::Drain() {
  std::vector<std::shared_ptr<UpsertStreamCall>> calls;
  {
    MutexLock lock(&mutex_);
    draining_ = true;
    for (UpsertStreamCall* call : calls_) {
      if (auto alive = call->weak_from_this().lock()) calls.push_back(std::move(alive));
    }
  }
  for (const auto& call : calls) call->Drain();
}

int UpsertStreams::open() const {
  MutexLock lock(&mutex_);
  return static_cast<int>(calls_.size());
}

void UpsertStreams::Remove(UpsertStreamCall* call) {
  MutexLock lock(&mutex_);
  calls_.erase(call);
  metrics_.streams().Set(static_cast<double>(calls_.size()));
}

}  // namespace imagesearch::server
