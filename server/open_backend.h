// Opens the two rooms as configured: model and data folder or Milvus, side by side.
#ifndef IMAGESEARCH_SERVER_OPEN_BACKEND_H_
#define IMAGESEARCH_SERVER_OPEN_BACKEND_H_

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "server/config/server_config.pb.h"
#include "server/server_state.h"

namespace imagesearch::server {

// The shipped model beside the running program: in the build tree, an installation or a container.
// NOT_FOUND with the places looked at.
absl::StatusOr<std::string> ShippedModel();

// Blocks until both are ready: weights read, self-test passed, towers warm, data recovered or
// Milvus reached, for which it waits without end.
// `on_progress` gets what is being done, from any thread. Errors say which of the two failed and
// why; after one of the model the process must end soon, since recovery may still run.
absl::StatusOr<Backend> OpenBackend(const ServerConfig& config,
                                    const std::function<void(const std::string&)>& on_progress);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_OPEN_BACKEND_H_
