// Each rpc is one line: its row of the method table, served by the one adapter.
#include "server/grpc/services.h"

#include "imagesearch/v1/admin.grpc.pb.h"
#include "imagesearch/v1/imagesearch.grpc.pb.h"
#include "server/forward/forwarder.h"
#include "server/grpc/server_stream_call.h"
#include "server/grpc/unary_call.h"
#include "server/methods.h"

namespace imagesearch::server {
namespace {

using grpc::ByteBuffer;
using grpc::CallbackServerContext;
using grpc::ServerUnaryReactor;

template <typename S>
using RawSearch = v1::ImageSearch::WithRawCallbackMethod_Search<
    v1::ImageSearch::WithRawCallbackMethod_SearchBatch<
        v1::ImageSearch::WithRawCallbackMethod_Encode<S>>>;
template <typename S>
using RawImages = v1::ImageSearch::WithRawCallbackMethod_Upsert<
    v1::ImageSearch::WithRawCallbackMethod_UpsertStream<v1::ImageSearch::WithRawCallbackMethod_Get<
        v1::ImageSearch::WithRawCallbackMethod_Delete<v1::ImageSearch::WithRawCallbackMethod_Count<
            v1::ImageSearch::WithRawCallbackMethod_List<S>>>>>>;
template <typename S>
using RawContent = v1::ImageSearch::WithRawCallbackMethod_UpdateMetadata<
    v1::ImageSearch::WithRawCallbackMethod_Classify<
        v1::ImageSearch::WithRawCallbackMethod_FindDuplicates<S>>>;
using RawImageSearch = RawSearch<RawImages<RawContent<v1::ImageSearch::Service>>>;

template <typename S>
using RawCollections = v1::Admin::WithRawCallbackMethod_CreateCollection<
    v1::Admin::WithRawCallbackMethod_GetCollection<v1::Admin::WithRawCallbackMethod_ListCollections<
        v1::Admin::WithRawCallbackMethod_DeleteCollection<
            v1::Admin::WithRawCallbackMethod_UpdateCollection<
                v1::Admin::WithRawCallbackMethod_GetServerInfo<S>>>>>>;
template <typename S>
using RawAliases = v1::Admin::WithRawCallbackMethod_SetAlias<
    v1::Admin::WithRawCallbackMethod_DeleteAlias<v1::Admin::WithRawCallbackMethod_ListAliases<S>>>;
template <typename S>
using RawModels = v1::Admin::WithRawCallbackMethod_ListModels<
    v1::Admin::WithRawCallbackMethod_LoadModel<v1::Admin::WithRawCallbackMethod_UnloadModel<S>>>;
template <typename S>
using RawOperations = v1::Admin::WithRawCallbackMethod_ListOperations<
    v1::Admin::WithRawCallbackMethod_GetOperation<v1::Admin::WithRawCallbackMethod_CancelOperation<
        v1::Admin::WithRawCallbackMethod_PauseOperation<
            v1::Admin::WithRawCallbackMethod_ResumeOperation<S>>>>>;
template <typename S>
using RawWork =
    v1::Admin::WithRawCallbackMethod_CreateBackup<v1::Admin::WithRawCallbackMethod_Compact<
        v1::Admin::WithRawCallbackMethod_Reembed<v1::Admin::WithRawCallbackMethod_RollbackReembed<
            v1::Admin::WithRawCallbackMethod_FinishReembed<S>>>>>;
using RawAdmin = RawCollections<RawAliases<RawModels<RawOperations<RawWork<v1::Admin::Service>>>>>;

#define IMAGESEARCH_UNARY(name)                                                       \
  ServerUnaryReactor* name(CallbackServerContext* context, const ByteBuffer* request, \
                           ByteBuffer* response) override {                           \
    static const Method& method = *FindMethod(Contract::service_full_name(), #name);  \
    return StartUnaryCall(method, runner_, context, request, response);               \
  }

class ImageSearchService final : public RawImageSearch {
 public:
  using Contract = v1::ImageSearch;

  ImageSearchService(CallRunner* runner, UpsertStreams* streams, Forwarder* forwarder)
      : runner_(runner), streams_(streams), forwarder_(forwarder) {}

  IMAGESEARCH_UNARY(Search)
  IMAGESEARCH_UNARY(SearchBatch)
  IMAGESEARCH_UNARY(Encode)
  IMAGESEARCH_UNARY(Upsert)
  IMAGESEARCH_UNARY(Get)
  IMAGESEARCH_UNARY(Delete)
  IMAGESEARCH_UNARY(UpdateMetadata)
  IMAGESEARCH_UNARY(Classify)
  IMAGESEARCH_UNARY(Count)
  IMAGESEARCH_UNARY(List)

  grpc::ServerWriteReactor<ByteBuffer>* FindDuplicates(CallbackServerContext* context,
                                                       const ByteBuffer* request) override {
    return StartServerStreamCall(FindDuplicatesMethod(), runner_, context, request);
  }

  grpc::ServerBidiReactor<ByteBuffer, ByteBuffer>* UpsertStream(
      CallbackServerContext* context) override {
    return forwarder_ != nullptr ? forwarder_->StartStream(context) : streams_->Start(context);
  }

 private:
  CallRunner* const runner_;
  UpsertStreams* const streams_;
  Forwarder* const forwarder_;  // null in a writer
};

class AdminService final : public RawAdmin {
 public:
  using Contract = v1::Admin;

  explicit AdminService(CallRunner* runner) : runner_(runner) {}

  IMAGESEARCH_UNARY(CreateCollection)
  IMAGESEARCH_UNARY(GetCollection)
  IMAGESEARCH_UNARY(ListCollections)
  IMAGESEARCH_UNARY(DeleteCollection)
  IMAGESEARCH_UNARY(UpdateCollection)
  IMAGESEARCH_UNARY(SetAlias)
  IMAGESEARCH_UNARY(DeleteAlias)
  IMAGESEARCH_UNARY(ListAliases)
  IMAGESEARCH_UNARY(ListModels)
  IMAGESEARCH_UNARY(LoadModel)
  IMAGESEARCH_UNARY(UnloadModel)
  IMAGESEARCH_UNARY(ListOperations)
  IMAGESEARCH_UNARY(GetOperation)
  IMAGESEARCH_UNARY(CancelOperation)
  IMAGESEARCH_UNARY(PauseOperation)
  IMAGESEARCH_UNARY(ResumeOperation)
  IMAGESEARCH_UNARY(CreateBackup)
  IMAGESEARCH_UNARY(Compact)
  IMAGESEARCH_UNARY(Reembed)
  IMAGESEARCH_UNARY(RollbackReembed)
  IMAGESEARCH_UNARY(FinishReembed)
  IMAGESEARCH_UNARY(GetServerInfo)

 private:
  CallRunner* const runner_;
};

#undef IMAGESEARCH_UNARY

}  // namespace

std::vector<std::unique_ptr<grpc::Service>> MakeServices(CallRunner* runner, UpsertStreams* streams,
                                                         Forwarder* forwarder) {
  std::vector<std::unique_ptr<grpc::Service>> services;
  services.push_back(std::make_unique<ImageSearchService>(runner, streams, forwarder));
  services.push_back(std::make_unique<AdminService>(runner));
  return services;
}

}  // namespace imagesearch::server
