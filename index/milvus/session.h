// The connection to Milvus: one call at a time made, its errors turned into ours, and the newest
// version known.
#ifndef IMAGESEARCH_INDEX_MILVUS_SESSION_H_
#define IMAGESEARCH_INDEX_MILVUS_SESSION_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "grpcpp/grpcpp.h"
#include "index/milvus/milvus_database.h"
#include "milvus.grpc.pb.h"

namespace imagesearch::index {

namespace pb = ::milvus::proto::milvus;

// UNIMPLEMENTED NOT_ON_MILVUS: what the embedded index can do and Milvus can't.
absl::Status NotOnMilvus(absl::string_view message);

// Thread-safe.
class Session {
 public:
  using Stub = pb::MilvusService::StubInterface;

  // INVALID_ARGUMENT when the CA file can't be read. Doesn't connect.
  static absl::StatusOr<std::shared_ptr<Session>> Make(const MilvusOptions& options);

  // Makes one call, which ends at the earlier of call_timeout and CallDeadline::Current(). `what`
  // says what for, as in "writing images". Errors: UNAVAILABLE MILVUS_UNAVAILABLE or
  // MILVUS_LOADING, RESOURCE_EXHAUSTED MILVUS_BUSY, all three with retry advice, DEADLINE_EXCEEDED,
  // NOT_FOUND NO_SUCH_COLLECTION, FAILED_PRECONDITION MILVUS_DENIED, OUT_OF_RANGE MESSAGE_TOO_LARGE
  // (ask for less at a time), UNIMPLEMENTED NOT_ON_MILVUS, INTERNAL MILVUS_ERROR.
  template <typename Request, typename Response>
  absl::Status Call(absl::string_view what,
                    grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const Request& request, Response* response) {
    grpc::ClientContext context;
    const absl::Time end = Prepare(&context);
    const grpc::Status status = (stub_.get()->*method)(&context, request, response);
    if (!status.ok()) return FromGrpc(status, what, end);
    return FromMilvus(StatusOf(*response), what);
  }

  const MilvusOptions& options() const { return options_; }
  int64_t NowMicros() const;  // of the clock for expiry

  // The newest version that this process wrote or was told of; reads are made at least this new.
  uint64_t version() const { return version_.load(); }
  void Advance(uint64_t version);
  // A version at least as new as every write that ended before this call: from Milvus' oracle, or
  // from this machine's clock where Milvus has none to ask.
  absl::StatusOr<uint64_t> Now();
  // What a write or deletion that returned `timestamp` (0: Milvus gave none) is counted as;
  // advances to it.
  absl::StatusOr<uint64_t> Written(uint64_t timestamp);

 private:
  Session(const MilvusOptions& options, std::shared_ptr<grpc::Channel> channel);

  // Deadline and login. Returns when the caller's own deadline ends.
  absl::Time Prepare(grpc::ClientContext* context) const;
  absl::Status FromGrpc(const grpc::Status& status, absl::string_view what, absl::Time end) const;
  absl::Status FromMilvus(const pb::Status& status, absl::string_view what) const;
  static const pb::Status& StatusOf(const pb::Status& status) { return status; }
  template <typename Response>
  static const pb::Status& StatusOf(const Response& response) {
    return response.status();
  }

  const MilvusOptions options_;
  const std::unique_ptr<Stub> stub_;
  std::string login_;  // constant after construction
  std::atomic<uint64_t> version_{1};
  std::atomic<bool> has_oracle_{true};
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_MILVUS_SESSION_H_
