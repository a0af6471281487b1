// Keeps the log of operations in one small file.
#ifndef IMAGESEARCH_SERVER_OPERATIONS_OPERATION_LOG_H_
#define IMAGESEARCH_SERVER_OPERATIONS_OPERATION_LOG_H_

#include <string>

#include "absl/status/statusor.h"
#include "server/operations/operation_log.pb.h"

namespace imagesearch::server {

// An empty log when there is no file. DATA_LOSS STORE_CORRUPT when it is unreadable.
absl::StatusOr<OperationLog> ReadOperationLog(const std::string& path);

// Replaces the file: after a crash it is the old one or the new one, synced. UNAVAILABLE STORE_IO.
absl::Status WriteOperationLog(const std::string& path, const OperationLog& log);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_OPERATIONS_OPERATION_LOG_H_
