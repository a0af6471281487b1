// The input ceilings of a configuration.
#ifndef IMAGESEARCH_SERVER_CONFIG_LIMITS_H_
#define IMAGESEARCH_SERVER_CONFIG_LIMITS_H_

#include "base/limits.h"
#include "server/config/server_config.pb.h"

namespace imagesearch::server {

Limits LimitsOf(const ServerConfig& config);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_CONFIG_LIMITS_H_
