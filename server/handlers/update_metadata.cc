// UpdateMetadata: a merge patch for stored images by ids or by filter.
#include <string>
#include <vector>

#include "base/error.h"
#include "base/steady_time.h"
#include "server/grpc_status.h"
#include "server/handlers/handlers.h"
#include "server/handlers/target.h"
#include "server/handlers/validate.h"

namespace imagesearch::server {

absl::Status UpdateMetadata(ServerState& state, CallContext& call,
                            v1::UpdateMetadataRequest* request,
                            v1::UpdateMetadataResponse* response) {
  if (request->ids().empty() == request->filter().empty()) {
    return InvalidArgument("BAD_REQUEST", "give either ids or a filter");
  }
  if (!request->has_merge_patch()) {
    return AtField(InvalidArgument("BAD_REQUEST", "a merge patch is needed; {} changes nothing"),
                   "merge_patch");
  }
  const Limits& limits = state.limits();
  absl::Status status = CheckIds(request->ids(), limits);
  if (status.ok()) status = CheckFilter(request->filter(), limits);
  if (!status.ok()) return status;
  absl::StatusOr<Target> target = FindTarget(state, request->collection());
  if (!target.ok()) return target.status();

  index::UpdateOptions options;
  options.check = [&limits](const google::protobuf::Struct& metadata) {
    return CheckMetadata(metadata, limits);
  };
  options.proceed = [&call]() -> absl::Status {
    if (call.cancelled->load()) return absl::CancelledError("the caller went away");
    if (SteadyNow() >= call.deadline) return absl::DeadlineExceededError("the deadline passed");
    return absl::OkStatus();
  };
  StageTimer timer(call, "write");
  auto updated = request->ids().empty()
                     ? target->collection->UpdateMetadataByFilter(request->filter(),
                                                                  request->merge_patch(), options)
                     : target->collection->UpdateMetadata(
                           std::vector<std::string>(request->ids().begin(), request->ids().end()),
                           request->merge_patch(), options);
  if (!updated.ok()) return updated.status();
  for (const absl::Status& item : updated->items) FillStatus(item, response->add_results());
  response->set_matched(updated->matched);
  response->set_updated(updated->updated);
  response->set_version(updated->version);
  return absl::OkStatus();
}

}  // namespace imagesearch::server
