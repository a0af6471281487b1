// The table of unary methods.
#include "server/methods.h"

#include <algorithm>

#include "server/handlers/handlers.h"
#include "server/handlers/reembed.h"

namespace imagesearch::server {
namespace {

using google::protobuf::Message;

constexpr absl::string_view kImageSearch = "imagesearch.v1.ImageSearch";
constexpr absl::string_view kAdmin = "imagesearch.v1.Admin";

Lane BulkOr(Lane usual, const CallContext& call) {
  return call.priority == encoder::Priority::kBulk ? Lane::kBulk : usual;
}

bool NeedsEncoder(const v1::SearchRequest& request) {
  return std::any_of(request.query().terms().begin(), request.query().terms().end(),
                     [](const v1::Term& term) { return term.has_text() || term.has_image(); });
}

Lane SearchLane(const Message& request, const CallContext& call) {
  const bool encodes = NeedsEncoder(static_cast<const v1::SearchRequest&>(request));
  return BulkOr(encodes ? Lane::kEncode : Lane::kIndex, call);
}

Lane SearchBatchLane(const Message& request, const CallContext& call) {
  const auto& requests = static_cast<const v1::SearchBatchRequest&>(request).requests();
  const bool encodes = std::any_of(requests.begin(), requests.end(), NeedsEncoder);
  return BulkOr(encodes ? Lane::kEncode : Lane::kIndex, call);
}

Lane EncodeLane(const Message&, const CallContext& call) { return BulkOr(Lane::kEncode, call); }
Lane ReadLane(const Message&, const CallContext& call) { return BulkOr(Lane::kIndex, call); }

// Long ones, that may wait for a slow reader.
Lane SendLane(const Message&, const CallContext&) { return Lane::kBulk; }

Lane WriteLane(const Message&, const CallContext& call) {
  return call.priority == encoder::Priority::kInteractive ? Lane::kEncode : Lane::kBulk;
}

// Ties a handler and its types to a row of the table.
template <auto handler, typename Request, typename Response>
absl::Status RunAs(ServerState& state, CallContext& call, Message* request, Message* response) {
  return handler(state, call, static_cast<Request*>(request), static_cast<Response*>(response));
}

template <auto handler, typename Request, typename Response>
Method MakeMethod(absl::string_view service, absl::string_view name, Scope scope,
                  Lane (*lane)(const Message&, const CallContext&)) {
  return {service,
          name,
          scope,
          &Request::default_instance(),
          &Response::default_instance(),
          lane,
          &RunAs<handler, Request, Response>};
}

#define IMAGESEARCH_METHOD(service, name, scope, lane) \
  MakeMethod<&name, v1::name##Request, v1::name##Response>(service, #name, scope, lane)

// Those that answer with an Operation.
#define IMAGESEARCH_OPERATION(name, scope, lane) \
  MakeMethod<&name, v1::name##Request, v1::Operation>(kAdmin, #name, scope, lane)

}  // namespace

absl::Span<const Method> Methods() {
  static const Method kMethods[] = {
      IMAGESEARCH_METHOD(kImageSearch, Search, Scope::kRead, &SearchLane),
      IMAGESEARCH_METHOD(kImageSearch, SearchBatch, Scope::kRead, &SearchBatchLane),
      IMAGESEARCH_METHOD(kImageSearch, Encode, Scope::kRead, &EncodeLane),
      IMAGESEARCH_METHOD(kImageSearch, Upsert, Scope::kWrite, &WriteLane),
      IMAGESEARCH_METHOD(kImageSearch, Get, Scope::kRead, &ReadLane),
      IMAGESEARCH_METHOD(kImageSearch, Delete, Scope::kWrite, &WriteLane),
      IMAGESEARCH_METHOD(kImageSearch, Classify, Scope::kWrite, &EncodeLane),
      IMAGESEARCH_METHOD(kImageSearch, UpdateMetadata, Scope::kWrite, &WriteLane),
      IMAGESEARCH_METHOD(kImageSearch, Count, Scope::kRead, &ReadLane),
      IMAGESEARCH_METHOD(kImageSearch, List, Scope::kRead, &ReadLane),
      IMAGESEARCH_METHOD(kAdmin, CreateCollection, Scope::kAdmin, &WriteLane),
      IMAGESEARCH_METHOD(kAdmin, GetCollection, Scope::kRead, &ReadLane),
      IMAGESEARCH_METHOD(kAdmin, ListCollections, Scope::kRead, &ReadLane),
      IMAGESEARCH_METHOD(kAdmin, DeleteCollection, Scope::kAdmin, &WriteLane),
      IMAGESEARCH_METHOD(kAdmin, UpdateCollection, Scope::kAdmin, &WriteLane),
      IMAGESEARCH_METHOD(kAdmin, SetAlias, Scope::kAdmin, &WriteLane),
      IMAGESEARCH_METHOD(kAdmin, DeleteAlias, Scope::kAdmin, &WriteLane),
      IMAGESEARCH_METHOD(kAdmin, ListAliases, Scope::kRead, &ReadLane),
      IMAGESEARCH_METHOD(kAdmin, ListModels, Scope::kRead, &ReadLane),
      IMAGESEARCH_METHOD(kAdmin, LoadModel, Scope::kAdmin, &WriteLane),
      IMAGESEARCH_METHOD(kAdmin, UnloadModel, Scope::kAdmin, &WriteLane),
      IMAGESEARCH_METHOD(kAdmin, ListOperations, Scope::kRead, &ReadLane),
      IMAGESEARCH_OPERATION(GetOperation, Scope::kRead, &ReadLane),
      IMAGESEARCH_OPERATION(CancelOperation, Scope::kAdmin, &WriteLane),
      IMAGESEARCH_OPERATION(PauseOperation, Scope::kAdmin, &WriteLane),
      IMAGESEARCH_OPERATION(ResumeOperation, Scope::kAdmin, &WriteLane),
      IMAGESEARCH_OPERATION(CreateBackup, Scope::kAdmin, &WriteLane),
      IMAGESEARCH_OPERATION(Compact, Scope::kAdmin, &WriteLane),
      IMAGESEARCH_OPERATION(Reembed, Scope::kAdmin, &WriteLane),
      IMAGESEARCH_METHOD(kAdmin, RollbackReembed, Scope::kAdmin, &WriteLane),
      IMAGESEARCH_METHOD(kAdmin, FinishReembed, Scope::kAdmin, &WriteLane),
      IMAGESEARCH_METHOD(kAdmin, GetServerInfo, Scope::kRead, &ReadLane),
  };
  return kMethods;
}

#undef IMAGESEARCH_METHOD
#undef IMAGESEARCH_OPERATION

const Method& FindDuplicatesMethod() {
  static const Method kMethod =
      MakeMethod<&FindDuplicates, v1::FindDuplicatesRequest, v1::FindDuplicatesResponse>(
          kImageSearch, "FindDuplicates", Scope::kRead, &SendLane);
  return kMethod;
}

const Method& StoredImageMethod() {
  static const Method kMethod = MakeMethod<&SendStoredImage, v1::GetRequest, v1::StoredImage>(
      kImageSearch, "StoredImage", Scope::kRead, &ReadLane);
  return kMethod;
}

const Method* FindMethod(absl::string_view service, absl::string_view name) {
  for (const Method& method : Methods()) {
    if (method.service == service && method.name == name) return &method;
  }
  return nullptr;
}

}  // namespace imagesearch::server
