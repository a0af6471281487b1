// Tables of metadata as people have them: JSON Lines and CSV.
#ifndef IMAGESEARCH_CLIENT_BULK_TABLE_FILE_H_
#define IMAGESEARCH_CLIENT_BULK_TABLE_FILE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <unordered_map>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/struct.pb.h"
#include "nlohmann/json.hpp"

namespace imagesearch::client {

// One row: `object` is a JSON object, or `error` says why the row can't be used.
struct TableRow {
  uint64_t line = 0;  // where it starts, from 1
  nlohmann::ordered_json object;
  absl::Status error;
};

// Calls `take` for each row, until it returns false. Files named *.csv are CSV as in RFC 4180 (the
// first row names the columns; cells that are numbers become numbers, empty cells are left out);
// all others are JSON Lines. Bad rows are given with their error. INVALID_ARGUMENT LOCAL_FILE when
// the file can't be read.
absl::Status ReadTable(const std::string& path, const std::function<bool(TableRow)>& take);

// Takes the row's file out of it: the first of `path`, `file`, `file_name`, `filename`, `filepath`,
// `image`. Relative paths are below the folder of `table`. Empty when there is none.
std::string TakePath(const std::string& table, nlohmann::ordered_json* row);

// A side file: metadata for files that come from elsewhere, by absolute path, and by bare name for
// rows whose path has no folder. Any bad row is an error: metadata must not get lost.
absl::StatusOr<std::unordered_map<std::string, google::protobuf::Struct>> ReadSideFile(
    const std::string& path);

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_BULK_TABLE_FILE_H_
