// Sends the writes that reach a reader on to the writer of its data folder.
#ifndef IMAGESEARCH_SERVER_FORWARD_FORWARDER_H_
#define IMAGESEARCH_SERVER_FORWARD_FORWARDER_H_

#include <list>
#include <memory>
#include <string>
#include <thread>
#include <unordered_set>

#include "absl/base/thread_annotations.h"
#include "absl/functional/any_invocable.h"
#include "absl/status/status.h"
#include "base/mutex.h"
#include "google/protobuf/message.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/grpcpp.h"
#include "server/call_context.h"
#include "server/call_runner.h"
#include "server/methods.h"
#include "server/metrics.h"
#include "server/security/access.h"

namespace imagesearch::server {

class ForwardStream;

struct ForwarderOptions {
  std::string writer;  // HOST:PORT
  std::shared_ptr<grpc::ChannelCredentials> credentials;
  std::string certificate_name;  // in the writer's certificate; empty: the host
  int max_calls = 256;
  int max_streams = 64;
  int max_message_bytes = 8 << 20;
};

// While the writer is away, calls wait here until their deadline: at most max_calls of them, more
// are refused with RESOURCE_EXHAUSTED WRITER_AWAY and retry advice. A call that the writer refused
// unheard (starting, stopping) is sent again; one whose connection broke under way only where doing
// it twice comes to the same: Upsert without create_only, Delete, UpdateMetadata. Each call carries
// its caller's own key, and the writer checks it again. Thread-safe.
class Forwarder final : public CallForwarder {
 public:
  // `access` says who may open a stream; unary calls come from the CallRunner, which has asked.
  // Both it and `metrics` must outlive this.
  Forwarder(const ForwarderOptions& options, const Access* access, Metrics* metrics);
  // Waits for the calls under way; no new one may come.
  ~Forwarder() override;

  // CallForwarder.
  bool Takes(const Method& method) const override;
  void Start(const Method& method, CallContext* call, const google::protobuf::Message& request,
             google::protobuf::Message* response,
             absl::AnyInvocable<void(absl::Status)> done) override;

  // The reactor of an UpsertStream, which deletes itself. Messages and acknowledgements are passed
  // on one at a time, so a stream holds two messages. When the writer goes, the stream ends
  // UNAVAILABLE: what has no acknowledgement is to be sent again.
  grpc::ServerBidiReactor<grpc::ByteBuffer, grpc::ByteBuffer>* StartStream(
      grpc::CallbackServerContext* context);

  // From now on streams read no more; what was read is acknowledged, then they end UNAVAILABLE.
  void Drain();

  int open_streams() const;
  const std::string& writer() const { return options_.writer; }

 private:
  friend class ForwardStream;
  struct Call;

  // Calls `done` once the writer says that it is ready, or why not: as a call that is sent again
  // until then.
  void AwaitWriter(CallContext* call, absl::AnyInvocable<void(absl::Status)> done);
  void Add(const std::shared_ptr<Call>& call, const google::protobuf::Message& request);
  void Send(const std::shared_ptr<Call>& call);
  void OnReply(const std::shared_ptr<Call>& call, const grpc::Status& status);
  void End(const std::shared_ptr<Call>& call, absl::Status status);
  // Cancels what nobody waits for any more, and sends again what is due.
  void Watch();
  void Remove(ForwardStream* stream);

  const ForwarderOptions options_;
  const Access& access_;
  grpc::GenericStub stub_;
  prometheus::Gauge& in_flight_;
  prometheus::Counter& sent_again_;

  mutable Mutex mutex_;
  CondVar changed_;
  std::list<std::shared_ptr<Call>> calls_ ABSL_GUARDED_BY(mutex_);
  int ending_ ABSL_GUARDED_BY(mutex_) = 0;  // off the list, with `done` under way
  std::unordered_set<ForwardStream*> streams_ ABSL_GUARDED_BY(mutex_);
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  std::thread watcher_;
};

// What a call's caller sent along and the writer should see too.
void FillClientContext(const CallContext& call, grpc::ClientContext* context);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_FORWARD_FORWARDER_H_
