// See client.h.
#include "client/client.h"

#include <future>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/status.h"
#include "google/protobuf/wrappers.pb.h"
#include "grpcpp/generic/generic_stub.h"
#include "grpcpp/impl/codegen/proto_utils.h"
#include "grpcpp/support/client_callback.h"

namespace imagesearch::client {

v1::Term TextTerm(absl::string_view text, float weight) {
  v1::Term term;
  term.set_text(std::string(text));
  term.set_weight(weight);
  return term;
}

v1::Term ImageTerm(absl::string_view encoded_image, float weight) {
  v1::Term term;
  term.set_image(std::string(encoded_image));
  term.set_weight(weight);
  return term;
}

v1::Term IdTerm(absl::string_view id, float weight) {
  v1::Term term;
  term.set_id(std::string(id));
  term.set_weight(weight);
  return term;
}

v1::Term VectorTerm(const std::vector<float>& vector, float weight) {
  v1::Term term;
  term.mutable_vector()->mutable_values()->Assign(vector.begin(), vector.end());
  term.set_weight(weight);
  return term;
}

absl::StatusOr<std::unique_ptr<Client>> Client::Connect(const ClientOptions& options) {
  auto channel = MakeChannel(options.channel);
  if (!channel.ok()) return channel.status();
  return std::make_unique<Client>(*std::move(channel), options);
}

Client::Client(std::shared_ptr<grpc::Channel> channel, const ClientOptions& options)
    : channel_(std::move(channel)),
      timeout_(options.timeout),
      token_(options.token),
      bulk_(options.bulk),
      search_(v1::ImageSearch::NewStub(channel_)),
      admin_(v1::Admin::NewStub(channel_)) {}

void Client::Prepare(grpc::ClientContext* context) const {
  if (!token_.empty()) context->AddMetadata("authorization", absl::StrCat("Bearer ", token_));
  if (bulk_) context->AddMetadata("imagesearch-priority", "bulk");
}

template <typename Response, typename Stub, typename Request>
absl::StatusOr<Response> Client::Call(Stub& stub,
                                      grpc::Status (Stub::*method)(grpc::ClientContext*,
                                                                   const Request&, Response*),
                                      const Request& request) const {
  grpc::ClientContext context;
  Prepare(&context);
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout_));
  Response response;
  const grpc::Status status = (stub.*method)(&context, request, &response);
  if (!status.ok()) return FromGrpc(status, &context);
  return response;
}

absl::StatusOr<v1::SearchResponse> Client::Search(const v1::SearchRequest& request) const {
  return Call(*search_, &v1::ImageSearch::Stub::Search, request);
}

absl::StatusOr<v1::SearchBatchResponse> Client::SearchBatch(
    const v1::SearchBatchRequest& request) const {
  return Call(*search_, &v1::ImageSearch::Stub::SearchBatch, request);
}

absl::StatusOr<v1::EncodeResponse> Client::Encode(const v1::EncodeRequest& request) const {
  return Call(*search_, &v1::ImageSearch::Stub::Encode, request);
}

absl::StatusOr<v1::UpsertResponse> Client::Upsert(const v1::UpsertRequest& request) const {
  return Call(*search_, &v1::ImageSearch::Stub::Upsert, request);
}

absl::StatusOr<v1::GetResponse> Client::Get(const v1::GetRequest& request) const {
  return Call(*search_, &v1::ImageSearch::Stub::Get, request);
}

absl::StatusOr<v1::DeleteResponse> Client::Delete(const v1::DeleteRequest& request) const {
  return Call(*search_, &v1::ImageSearch::Stub::Delete, request);
}

absl::StatusOr<v1::UpdateMetadataResponse> Client::UpdateMetadata(
    const v1::UpdateMetadataRequest& request) const {
  return Call(*search_, &v1::ImageSearch::Stub::UpdateMetadata, request);
}

absl::StatusOr<v1::ClassifyResponse> Client::Classify(const v1::ClassifyRequest& request) const {
  return Call(*search_, &v1::ImageSearch::Stub::Classify, request);
}

absl::Status Client::FindDuplicates(
    const v1::FindDuplicatesRequest& request,
    const std::function<void(const v1::FindDuplicatesResponse&)>& on_event) const {
  grpc::ClientContext context;
  Prepare(&context);
  const auto reader = search_->FindDuplicates(&context, request);
  v1::FindDuplicatesResponse event;
  while (reader->Read(&event)) on_event(event);
  const grpc::Status status = reader->Finish();
  return status.ok() ? absl::OkStatus() : FromGrpc(status, &context);
}

absl::StatusOr<v1::CountResponse> Client::Count(const v1::CountRequest& request) const {
  return Call(*search_, &v1::ImageSearch::Stub::Count, request);
}

absl::StatusOr<v1::ListResponse> Client::List(const v1::ListRequest& request) const {
  return Call(*search_, &v1::ImageSearch::Stub::List, request);
}

absl::StatusOr<v1::CreateCollectionResponse> Client::CreateCollection(
    const v1::CreateCollectionRequest& request) const {
  return Call(*admin_, &v1::Admin::Stub::CreateCollection, request);
}

absl::StatusOr<v1::GetCollectionResponse> Client::GetCollection(
    const v1::GetCollectionRequest& request) const {
  return Call(*admin_, &v1::Admin::Stub::GetCollection, request);
}

absl::StatusOr<v1::ListCollectionsResponse> Client::ListCollections(
    const v1::ListCollectionsRequest& request) const {
  return Call(*admin_, &v1::Admin::Stub::ListCollections, request);
}

absl::StatusOr<v1::DeleteCollectionResponse> Client::DeleteCollection(
    const v1::DeleteCollectionRequest& request) const {
  return Call(*admin_, &v1::Admin::Stub::DeleteCollection, request);
}

absl::StatusOr<v1::UpdateCollectionResponse> Client::UpdateCollection(
    const v1::UpdateCollectionRequest& request) const {
  return Call(*admin_, &v1::Admin::Stub::UpdateCollection, request);
}

absl::StatusOr<v1::SetAliasResponse> Client::SetAlias(const v1::SetAliasRequest& request) const {
  return Call(*admin_, &v1::Admin::Stub::SetAlias, request);
}

absl::StatusOr<v1::DeleteAliasResponse> Client::DeleteAlias(
    const v1::DeleteAliasRequest& request) const {
  return Call(*admin_, &v1::Admin::Stub::DeleteAlias, request);
}

absl::StatusOr<v1::ListAliasesResponse> Client::ListAliases() const {
  return Call(*admin_, &v1::Admin::Stub::ListAliases, v1::ListAliasesRequest());
}

absl::StatusOr<v1::ListModelsResponse> Client::ListModels(
    const v1::ListModelsRequest& request) const {
  return Call(*admin_, &v1::Admin::Stub::ListModels, request);
}

absl::StatusOr<v1::LoadModelResponse> Client::LoadModel(const v1::LoadModelRequest& request) const {
  return Call(*admin_, &v1::Admin::Stub::LoadModel, request);
}

absl::StatusOr<v1::UnloadModelResponse> Client::UnloadModel(
    const v1::UnloadModelRequest& request) const {
  return Call(*admin_, &v1::Admin::Stub::UnloadModel, request);
}

absl::StatusOr<v1::ListOperationsResponse> Client::ListOperations(
    const v1::ListOperationsRequest& request) const {
  return Call(*admin_, &v1::Admin::Stub::ListOperations, request);
}

absl::StatusOr<v1::Operation> Client::GetOperation(const v1::GetOperationRequest& request) const {
  return Call(*admin_, &v1::Admin::Stub::GetOperation, request);
}

absl::StatusOr<v1::Operation> Client::CancelOperation(
    const v1::CancelOperationRequest& request) const {
  return Call(*admin_, &v1::Admin::Stub::CancelOperation, request);
}

absl::StatusOr<v1::Operation> Client::PauseOperation(
    const v1::PauseOperationRequest& request) const {
  return Call(*admin_, &v1::Admin::Stub::PauseOperation, request);
}

absl::StatusOr<v1::Operation> Client::ResumeOperation(
    const v1::ResumeOperationRequest& request) const {
  return Call(*admin_, &v1::Admin::Stub::ResumeOperation, request);
}

absl::StatusOr<v1::Operation> Client::CreateBackup(const v1::CreateBackupRequest& request) const {
  return Call(*admin_, &v1::Admin::Stub::CreateBackup, request);
}

absl::StatusOr<v1::Operation> Client::Compact(const v1::CompactRequest& request) const {
  return Call(*admin_, &v1::Admin::Stub::Compact, request);
}

absl::StatusOr<v1::Operation> Client::Reembed(const v1::ReembedRequest& request) const {
  return Call(*admin_, &v1::Admin::Stub::Reembed, request);
}

absl::StatusOr<v1::RollbackReembedResponse> Client::RollbackReembed(
    const v1::RollbackReembedRequest& request) const {
  return Call(*admin_, &v1::Admin::Stub::RollbackReembed, request);
}

absl::StatusOr<v1::FinishReembedResponse> Client::FinishReembed(
    const v1::FinishReembedRequest& request) const {
  return Call(*admin_, &v1::Admin::Stub::FinishReembed, request);
}

absl::StatusOr<v1::GetServerInfoResponse> Client::GetServerInfo() const {
  return Call(*admin_, &v1::Admin::Stub::GetServerInfo, v1::GetServerInfoRequest());
}

absl::StatusOr<bool> Client::IsServing(absl::string_view service) const {
  // HealthCheckRequest {string service = 1} and HealthCheckResponse {enum status = 1} have the
  // bytes of these two well-known types, so no copy of health.proto is needed.
  google::protobuf::StringValue request;
  google::protobuf::Int32Value response;
  request.set_value(std::string(service));
  constexpr int kServing = 1;

  grpc::ClientContext context;
  Prepare(&context);
  context.set_deadline(absl::ToChronoTime(absl::Now() + timeout_));
  grpc::TemplatedGenericStub<google::protobuf::StringValue, google::protobuf::Int32Value> stub(
      channel_);
  std::promise<grpc::Status> done;
  stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", grpc::StubOptions(), &request, &response,
                 [&done](grpc::Status status) { done.set_value(std::move(status)); });
  const grpc::Status status = done.get_future().get();
  if (!status.ok()) return FromGrpc(status, &context);
  return response.value() == kServing;
}

std::unique_ptr<Client::UpsertStream> Client::OpenUpsertStream(grpc::ClientContext* context) const {
  Prepare(context);
  return search_->UpsertStream(context);
}

}  // namespace imagesearch::client
