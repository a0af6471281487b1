// The typed C++ API of imagesearchd: one method per rpc, absl::Status with reasons instead of
// gRPC's.
//
//   auto client = imagesearch::client::Client::Connect({.channel = {.target = "127.0.0.1:50051"}});
//   v1::SearchRequest request;
//   *request.mutable_query()->add_terms() = imagesearch::client::TextTerm("a red bicycle");
//   auto response = (*client)->Search(request);
#ifndef IMAGESEARCH_CLIENT_CLIENT_H_
#define IMAGESEARCH_CLIENT_CLIENT_H_

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "client/channel.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/sync_stream.h"
#include "imagesearch/v1/admin.grpc.pb.h"
#include "imagesearch/v1/imagesearch.grpc.pb.h"

namespace imagesearch::client {

struct ClientOptions {
  ChannelOptions channel;
  // Deadline of each unary call. Streams have none.
  absl::Duration timeout = absl::Seconds(30);
  // Sent as `authorization: Bearer TOKEN` when not empty. Use TLS with it outside a trusted
  // network.
  std::string token;
  // Marks every call as work that may wait behind interactive queries.
  bool bulk = false;
};

// Terms of a query. A negative weight pushes away.
v1::Term TextTerm(absl::string_view text, float weight = 1);
v1::Term ImageTerm(absl::string_view encoded_image, float weight = 1);
v1::Term IdTerm(absl::string_view id, float weight = 1);
v1::Term VectorTerm(const std::vector<float>& vector, float weight = 1);

// Thread-safe: one client serves any number of threads over its connection. The status of a call
// that failed has the reason of google.rpc.ErrorInfo (see ReasonOf). UNAVAILABLE: the server can't
// be reached; it has been tried `max_attempts` times by then.
class Client {
 public:
  using UpsertStream = grpc::ClientReaderWriter<v1::UpsertStreamRequest, v1::UpsertStreamResponse>;

  // Does not call the server yet.
  static absl::StatusOr<std::unique_ptr<Client>> Connect(const ClientOptions& options);

  // Over a channel of the caller's own making.
  Client(std::shared_ptr<grpc::Channel> channel, const ClientOptions& options);

  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  absl::StatusOr<v1::SearchResponse> Search(const v1::SearchRequest& request) const;
  absl::StatusOr<v1::SearchBatchResponse> SearchBatch(const v1::SearchBatchRequest& request) const;
  absl::StatusOr<v1::EncodeResponse> Encode(const v1::EncodeRequest& request) const;
  absl::StatusOr<v1::UpsertResponse> Upsert(const v1::UpsertRequest& request) const;
  absl::StatusOr<v1::GetResponse> Get(const v1::GetRequest& request) const;
  absl::StatusOr<v1::DeleteResponse> Delete(const v1::DeleteRequest& request) const;
  absl::StatusOr<v1::UpdateMetadataResponse> UpdateMetadata(
      const v1::UpdateMetadataRequest& request) const;
  absl::StatusOr<v1::ClassifyResponse> Classify(const v1::ClassifyRequest& request) const;
  // Calls `on_event` with each message, from this thread; returns how the stream ended. No
  // deadline.
  absl::Status FindDuplicates(
      const v1::FindDuplicatesRequest& request,
      const std::function<void(const v1::FindDuplicatesResponse&)>& on_event) const;
  absl::StatusOr<v1::CountResponse> Count(const v1::CountRequest& request) const;
  absl::StatusOr<v1::ListResponse> List(const v1::ListRequest& request) const;

  absl::StatusOr<v1::CreateCollectionResponse> CreateCollection(
      const v1::CreateCollectionRequest& request) const;
  absl::StatusOr<v1::GetCollectionResponse> GetCollection(
      const v1::GetCollectionRequest& request) const;
  absl::StatusOr<v1::ListCollectionsResponse> ListCollections(
      const v1::ListCollectionsRequest& request) const;
  absl::StatusOr<v1::DeleteCollectionResponse> DeleteCollection(
      const v1::DeleteCollectionRequest& request) const;
  absl::StatusOr<v1::UpdateCollectionResponse> UpdateCollection(
      const v1::UpdateCollectionRequest& request) const;
  absl::StatusOr<v1::SetAliasResponse> SetAlias(const v1::SetAliasRequest& request) const;
  absl::StatusOr<v1::DeleteAliasResponse> DeleteAlias(const v1::DeleteAliasRequest& request) const;
  absl::StatusOr<v1::ListAliasesResponse> ListAliases() const;
  absl::StatusOr<v1::ListModelsResponse> ListModels(const v1::ListModelsRequest& request) const;
  absl::StatusOr<v1::LoadModelResponse> LoadModel(const v1::LoadModelRequest& request) const;
  absl::StatusOr<v1::UnloadModelResponse> UnloadModel(const v1::UnloadModelRequest& request) const;
  absl::StatusOr<v1::ListOperationsResponse> ListOperations(
      const v1::ListOperationsRequest& request) const;
  absl::StatusOr<v1::Operation> GetOperation(const v1::GetOperationRequest& request) const;
  absl::StatusOr<v1::Operation> CancelOperation(const v1::CancelOperationRequest& request) const;
  absl::StatusOr<v1::Operation> PauseOperation(const v1::PauseOperationRequest& request) const;
  absl::StatusOr<v1::Operation> ResumeOperation(const v1::ResumeOperationRequest& request) const;
  absl::StatusOr<v1::Operation> CreateBackup(const v1::CreateBackupRequest& request) const;
  absl::StatusOr<v1::Operation> Compact(const v1::CompactRequest& request) const;
  absl::StatusOr<v1::Operation> Reembed(const v1::ReembedRequest& request) const;
  absl::StatusOr<v1::RollbackReembedResponse> RollbackReembed(
      const v1::RollbackReembedRequest& request) const;
  absl::StatusOr<v1::FinishReembedResponse> FinishReembed(
      const v1::FinishReembedRequest& request) const;
  absl::StatusOr<v1::GetServerInfoResponse> GetServerInfo() const;

  // grpc.health.v1: true when `service` ("ready", "live" or "" for the server as a whole) is
  // SERVING.
  absl::StatusOr<bool> IsServing(absl::string_view service) const;

  // The raw stream; `context` must outlive it and gets the token. Most callers want Uploader
  // (client/uploader.h), which resumes.
  std::unique_ptr<UpsertStream> OpenUpsertStream(grpc::ClientContext* context) const;

 private:
  void Prepare(grpc::ClientContext* context) const;
  // Runs one unary call of a stub with the client's deadline and metadata.
  template <typename Response, typename Stub, typename Request>
  absl::StatusOr<Response> Call(Stub& stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                const Request& request) const;

  // Constant after construction.
  const std::shared_ptr<grpc::Channel> channel_;
  const absl::Duration timeout_;
  const std::string token_;
  const bool bulk_;
  const std::unique_ptr<v1::ImageSearch::Stub> search_;
  const std::unique_ptr<v1::Admin::Stub> admin_;
};

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_CLIENT_H_
