// RocksDB's statuses as absl statuses: the one place that translates them.
#ifndef IMAGESEARCH_INDEX_STORE_ROCKS_STATUS_H_
#define IMAGESEARCH_INDEX_STORE_ROCKS_STATUS_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "rocksdb/status.h"

namespace imagesearch::index {

// `what` says what was tried. No space: RESOURCE_EXHAUSTED DISK_FULL; other I/O: UNAVAILABLE
// STORE_IO; corruption: DATA_LOSS STORE_CORRUPT; the rest is our bug: INTERNAL.
absl::Status FromRocks(const rocksdb::Status& status, absl::string_view what);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_ROCKS_STATUS_H_
