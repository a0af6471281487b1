#include "index/store/rocks_status.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace imagesearch::index {

absl::Status FromRocks(const rocksdb::Status& status, absl::string_view what) {
  if (status.ok()) return absl::OkStatus();
  const std::string message = absl::StrCat(what, ": ", status.ToString());
  if (status.IsNoSpace()) {
    return Error(absl::StatusCode::kResourceExhausted, "DISK_FULL", message);
  }
  if (status.IsNotFound()) return Error(absl::StatusCode::kNotFound, "NOT_FOUND", message);
  if (status.IsCorruption()) {
    return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT", message);
  }
  if (status.IsIOError() || status.IsBusy() || status.IsTimedOut() || status.IsTryAgain() ||
      status.IsShutdownInProgress() || status.IsAborted()) {
    return Error(absl::StatusCode::kUnavailable, "STORE_IO", message);
  }
  return Error(absl::StatusCode::kInternal, "STORE", message);
}

}  // namespace imagesearch::index
