// Structured log lines: an event and its fields, as key=value text or as JSON, to standard error.
#ifndef IMAGESEARCH_SERVER_LOGGING_H_
#define IMAGESEARCH_SERVER_LOGGING_H_

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace imagesearch::server {

enum class LogLevel { kDebug, kInfo, kWarn, kError };
using LogFields = std::vector<std::pair<std::string, std::string>>;

// Call once, before other threads log. `level` is debug, info, warn or error.
void SetUpLogging(absl::string_view level, bool json);

// Thread-safe. `event` is a short constant phrase; what varies goes into `fields`. Never log a
// secret or an uploaded byte. Also before SetUpLogging: as text, from info on.
void Log(LogLevel level, absl::string_view event, const LogFields& fields = {});

// The line without time and level, for tests. Values are quoted where they hold blanks or quotes;
// control characters and invalid UTF-8 are escaped.
std::string FormatLogLine(absl::string_view event, const LogFields& fields, bool json);

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_LOGGING_H_
