// SetAlias, DeleteAlias, ListAliases.
#include "base/error.h"
#include "server/grpc_status.h"
#include "server/handlers/handlers.h"
#include "server/security/access.h"

namespace imagesearch::server {

absl::Status SetAlias(ServerState& state, CallContext& call, v1::SetAliasRequest* request,
                      v1::SetAliasResponse* response) {
  auto backend = state.backend();
  if (!backend.ok()) return backend.status();
  if (request->collection().empty()) {
    return AtField(InvalidArgument("BAD_NAME", "the name of the collection is empty"),
                   "collection");
  }
  auto version = (*backend)->database->SetAlias(request->alias(), request->collection());
  if (!version.ok()) return version.status();
  response->set_version(*version);
  return absl::OkStatus();
}

absl::Status DeleteAlias(ServerState& state, CallContext& call, v1::DeleteAliasRequest* request,
                         v1::DeleteAliasResponse* response) {
  auto backend = state.backend();
  if (!backend.ok()) return backend.status();
  auto version = (*backend)->database->DeleteAlias(request->alias());
  if (!version.ok()) return version.status();
  response->set_version(*version);
  return absl::OkStatus();
}

absl::Status ListAliases(ServerState& state, CallContext& call, v1::ListAliasesRequest* request,
                         v1::ListAliasesResponse* response) {
  auto backend = state.backend();
  if (!backend.ok()) return backend.status();
  for (const index::Alias& alias : (*backend)->database->ListAliases()) {
    // A key for some collections learns of no others.
    if (!Access::Authorize(Scope::kRead, {{alias.name}}, call).ok()) continue;
    v1::Alias* out = response->add_aliases();
    out->set_alias(alias.name);
    out->set_collection(alias.collection);
  }
  return absl::OkStatus();
}

}  // namespace imagesearch::server
