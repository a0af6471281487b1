// spdlog behind one function.
#include "server/logging.h"

#include <algorithm>
#include <atomic>
#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "google/protobuf/stubs/logging.h"
#include "nlohmann/json.hpp"
#include "spdlog/sinks/stdout_sinks.h"
#include "spdlog/spdlog.h"

namespace imagesearch::server {
namespace {

std::atomic<bool> g_json{false};

std::shared_ptr<spdlog::logger> MakeLogger() {
  auto logger = std::make_shared<spdlog::logger>("imagesearchd",
                                                 std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %l %v");
  logger->flush_on(spdlog::level::info);
  return logger;
}

spdlog::logger& Logger() {
  static const std::shared_ptr<spdlog::logger> logger = MakeLogger();
  return *logger;
}

spdlog::level::level_enum ToSpdlog(LogLevel level) {
  switch (level) {
    case LogLevel::kDebug:
      return spdlog::level::debug;
    case LogLevel::kInfo:
      return spdlog::level::info;
    case LogLevel::kWarn:
      return spdlog::level::warn;
    case LogLevel::kError:
      return spdlog::level::err;
  }
  return spdlog::level::err;
}

std::string Quoted(const std::string& value) {
  const bool plain = !value.empty() && std::all_of(value.begin(), value.end(), [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c)) && c != '"' && c != '=' && c != '\\';
  });
  if (plain) return value;
  // Apostrophes need no escape between quotes.
  return absl::StrCat("\"", absl::StrReplaceAll(absl::Utf8SafeCEscape(value), {{"\\'", "'"}}),
                      "\"");
}

// The parser's own words about a bad request are the caller's error, not ours.
void ProtobufLog(google::protobuf::LogLevel, const char*, int, const std::string& message) {
  Log(LogLevel::kDebug, "protobuf", {{"message", message}});
}

}  // namespace

void SetUpLogging(absl::string_view level, bool json) {
  g_json = json;
  spdlog::logger& logger = Logger();
  logger.set_level(spdlog::level::from_str(std::string(level)));
  if (json) logger.set_pattern(R"({"time":"%Y-%m-%dT%H:%M:%S.%e%z","level":"%l",%v})");
  google::protobuf::SetLogHandler(&ProtobufLog);
}

void Log(LogLevel level, absl::string_view event, const LogFields& fields) {
  spdlog::logger& logger = Logger();
  if (!logger.should_log(ToSpdlog(level))) return;
  const std::string line = FormatLogLine(event, fields, g_json);
  logger.log(ToSpdlog(level), "{}", line);
}

std::string FormatLogLine(absl::string_view event, const LogFields& fields, bool json) {
  if (!json) {
    std::string line(event);
    for (const auto& [key, value] : fields) absl::StrAppend(&line, " ", key, "=", Quoted(value));
    return line;
  }
  nlohmann::ordered_json object;
  object["event"] = std::string(event);
  for (const auto& [key, value] : fields) object[key] = value;
  const std::string text =
      object.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  return text.substr(1, text.size() - 2);  // the pattern adds the braces
}

}  // namespace imagesearch::server
