// The methods of imagesearch.v1, free of any transport. Contracts of requests and replies:
// proto/imagesearch/v1. Each may consume its request, blocks until the reply is complete, and
// returns the status of the rpc as a whole.
#ifndef IMAGESEARCH_SERVER_HANDLERS_HANDLERS_H_
#define IMAGESEARCH_SERVER_HANDLERS_HANDLERS_H_

#include "absl/status/status.h"
#include "imagesearch/v1/admin.pb.h"
#include "imagesearch/v1/imagesearch.pb.h"
#include "server/call_context.h"
#include "server/server_state.h"

namespace imagesearch::server {

absl::Status Search(ServerState& state, CallContext& call, v1::SearchRequest* request,
                    v1::SearchResponse* response);
absl::Status SearchBatch(ServerState& state, CallContext& call, v1::SearchBatchRequest* request,
                         v1::SearchBatchResponse* response);
absl::Status Encode(ServerState& state, CallContext& call, v1::EncodeRequest* request,
                    v1::EncodeResponse* response);
absl::Status Upsert(ServerState& state, CallContext& call, v1::UpsertRequest* request,
                    v1::UpsertResponse* response);
absl::Status Get(ServerState& state, CallContext& call, v1::GetRequest* request,
                 v1::GetResponse* response);
absl::Status Delete(ServerState& state, CallContext& call, v1::DeleteRequest* request,
                    v1::DeleteResponse* response);
absl::Status UpdateMetadata(ServerState& state, CallContext& call,
                            v1::UpdateMetadataRequest* request,
                            v1::UpdateMetadataResponse* response);
absl::Status Count(ServerState& state, CallContext& call, v1::CountRequest* request,
                   v1::CountResponse* response);
absl::Status List(ServerState& state, CallContext& call, v1::ListRequest* request,
                  v1::ListResponse* response);

absl::Status Classify(ServerState& state, CallContext& call, v1::ClassifyRequest* request,
                      v1::ClassifyResponse* response);
// These two send (server/methods.h).
absl::Status FindDuplicates(ServerState& state, CallContext& call,
                            v1::FindDuplicatesRequest* request,
                            v1::FindDuplicatesResponse* response);
absl::Status SendStoredImage(ServerState& state, CallContext& call, v1::GetRequest* request,
                             v1::StoredImage* response);

absl::Status CreateCollection(ServerState& state, CallContext& call,
                              v1::CreateCollectionRequest* request,
                              v1::CreateCollectionResponse* response);
absl::Status GetCollection(ServerState& state, CallContext& call, v1::GetCollectionRequest* request,
                           v1::GetCollectionResponse* response);
absl::Status ListCollections(ServerState& state, CallContext& call,
                             v1::ListCollectionsRequest* request,
                             v1::ListCollectionsResponse* response);
absl::Status DeleteCollection(ServerState& state, CallContext& call,
                              v1::DeleteCollectionRequest* request,
                              v1::DeleteCollectionResponse* response);
absl::Status UpdateCollection(ServerState& state, CallContext& call,
                              v1::UpdateCollectionRequest* request,
                              v1::UpdateCollectionResponse* response);
absl::Status SetAlias(ServerState& state, CallContext& call, v1::SetAliasRequest* request,
                      v1::SetAliasResponse* response);
absl::Status DeleteAlias(ServerState& state, CallContext& call, v1::DeleteAliasRequest* request,
                         v1::DeleteAliasResponse* response);
absl::Status ListAliases(ServerState& state, CallContext& call, v1::ListAliasesRequest* request,
                         v1::ListAliasesResponse* response);
absl::Status ListModels(ServerState& state, CallContext& call, v1::ListModelsRequest* request,
                        v1::ListModelsResponse* response);
absl::Status LoadModel(ServerState& state, CallContext& call, v1::LoadModelRequest* request,
                       v1::LoadModelResponse* response);
absl::Status UnloadModel(ServerState& state, CallContext& call, v1::UnloadModelRequest* request,
                         v1::UnloadModelResponse* response);
absl::Status ListOperations(ServerState& state, CallContext& call,
                            v1::ListOperationsRequest* request,
                            v1::ListOperationsResponse* response);
absl::Status GetOperation(ServerState& state, CallContext& call, v1::GetOperationRequest* request,
                          v1::Operation* response);
absl::Status CancelOperation(ServerState& state, CallContext& call,
                             v1::CancelOperationRequest* request, v1::Operation* response);
absl::Status PauseOperation(ServerState& state, CallContext& call,
                            v1::PauseOperationRequest* request, v1::Operation* response);
absl::Status ResumeOperation(ServerState& state, CallContext& call,
                             v1::ResumeOperationRequest* request, v1::Operation* response);
absl::Status CreateBackup(ServerState& state, CallContext& call, v1::CreateBackupRequest* request,
                          v1::Operation* response);
absl::Status Compact(ServerState& state, CallContext& call, v1::CompactRequest* request,
                     v1::Operation* response);
absl::Status GetServerInfo(ServerState& state, CallContext& call, v1::GetServerInfoRequest* request,
                           v1::GetServerInfoResponse* response);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HANDLERS_HANDLERS_H_
