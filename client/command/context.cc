// See context.h.
#include "client/command/context.h"

#include <fstream>
#include <iostream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "nlohmann/json.hpp"

namespace imagesearch::client {
namespace {

constexpr char kLocalFile[] = "LOCAL_FILE";

int ExitCodeOf(const absl::Status& status) {
  if (ReasonOf(status) == kLocalFile) return kExitLocal;
  switch (status.code()) {
    case absl::StatusCode::kOk:
      return kExitOk;
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kDeadlineExceeded:
      return kExitUnreachable;
    case absl::StatusCode::kInternal:
    case absl::StatusCode::kUnknown:
    case absl::StatusCode::kDataLoss:
      return kExitServerFault;
    default:
      return kExitRefused;
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Client>> Context::Connect() const {
  ClientOptions options = client;
  options.timeout = absl::Seconds(timeout_seconds);
  return Client::Connect(options);
}

absl::Status LocalFileError(absl::string_view path, absl::string_view what) {
  return Error(absl::StatusCode::kInvalidArgument, kLocalFile, absl::StrCat(path, ": ", what));
}

int Fail(const Context& context, const absl::Status& status) {
  const int exit_code = ExitCodeOf(status);
  std::string hint;
  if (exit_code == kExitUnreachable && ReasonOf(status) == "UNAVAILABLE") {
    hint = absl::StrCat("is imagesearchd running at ", context.client.channel.target,
                        "? (--server HOST:PORT or IMAGESEARCH_SERVER names another)");
  }
  const std::string code = absl::StatusCodeToString(status.code());
  const std::string message(status.message());
  if (context.json) {
    nlohmann::ordered_json error = {
        {"error", {{"code", code}, {"reason", ReasonOf(status)}, {"message", message}}}};
    if (!hint.empty()) error["error"]["hint"] = hint;
    std::cerr << error.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  } else {
    std::cerr << "imagesearch: " << message << " [" << ReasonOf(status) << "]\n";
    if (!hint.empty()) std::cerr << "imagesearch: " << hint << "\n";
  }
  return exit_code;
}

void OnRun(CLI::App* command, Context* context, std::function<int()> verb) {
  command->callback([context, verb = std::move(verb)] { context->exit_code = verb(); });
}

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ostringstream content;
  if (path == "-") {
    content << std::cin.rdbuf();
    return content.str();
  }
  std::ifstream in(path, std::ios::binary);
  if (!in) return LocalFileError(path, "can't be opened");
  content << in.rdbuf();
  // Inserting an empty file sets failbit on `content`; only the reader tells of errors.
  if (in.bad()) return LocalFileError(path, "can't be read");
  return content.str();
}

absl::Status WriteFile(const std::string& path, absl::string_view content) {
  std::ofstream out(path, std::ios::binary | std::ios::trunc);
  out.write(content.data(), static_cast<std::streamsize>(content.size()));
  out.close();
  return out ? absl::OkStatus() : LocalFileError(path, "can't be written");
}

}  // namespace imagesearch::client
