// The handlers of re-embedding, beside those of handlers.h.
#ifndef IMAGESEARCH_SERVER_HANDLERS_REEMBED_H_
#define IMAGESEARCH_SERVER_HANDLERS_REEMBED_H_

#include "absl/status/status.h"
#include "imagesearch/v1/admin.pb.h"
#include "server/call_context.h"
#include "server/server_state.h"

namespace imagesearch::server {

absl::Status Reembed(ServerState& state, CallContext& call, v1::ReembedRequest* request,
                     v1::Operation* response);
absl::Status RollbackReembed(ServerState& state, CallContext& call,
                             v1::RollbackReembedRequest* request,
                             v1::RollbackReembedResponse* response);
absl::Status FinishReembed(ServerState& state, CallContext& call, v1::FinishReembedRequest* request,
                           v1::FinishReembedResponse* response);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_HANDLERS_REEMBED_H_
