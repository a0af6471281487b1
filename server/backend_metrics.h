// Figures of the encoder's queues and of the collections, read when metrics are asked for.
#ifndef IMAGESEARCH_SERVER_BACKEND_METRICS_H_
#define IMAGESEARCH_SERVER_BACKEND_METRICS_H_

#include <memory>

#include "prometheus/collectable.h"
#include "server/server_state.h"

namespace imagesearch::server {

// Thread-safe.
std::shared_ptr<prometheus::Collectable> MakeBackendMetrics(const Backend& backend);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_BACKEND_METRICS_H_
