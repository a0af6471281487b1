// imagesearchd: reads the configuration, opens the port, loads, serves until a signal, drains.
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "index/ann/simd.h"
#include "server/config/config.h"
#include "server/logging.h"
#include "server/open_backend.h"
#include "server/server.h"
#include "server/signals.h"

namespace imagesearch::server {
namespace {

constexpr int kFailed = 1, kBadFlags = 2;

std::optional<std::string> FromEnvironment(const std::string& name) {
  const char* value = std::getenv(name.c_str());
  return value == nullptr ? std::nullopt : std::optional<std::string>(value);
}

// gRPC's listener never accepts again after the process once ran out of descriptors.
void RaiseFileLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// The gRPC port and, where there is one, the HTTP port, a line each. Whole or not at all: readers
// poll for it.
absl::Status WritePortFile(const std::string& path, int port, int http_port) {
  const std::string draft = absl::StrCat(path, ".", getpid());
  std::ofstream file(draft);
  file << port << "\n";
  if (http_port > 0) file << http_port << "\n";
  file.close();
  std::error_code error;
  if (file) std::filesystem::rename(draft, path, error);
  if (!file || error) return absl::UnavailableError(absl::StrCat("can't write ", path));
  return absl::OkStatus();
}

ServerFacts Facts(const ServerConfig& config) {
  ServerFacts facts;
  facts.version = IMAGESEARCH_VERSION;
  facts.simd_level = index::SimdLevelName();
  facts.encoder_threads = config.encoder_threads() > 0
                              ? config.encoder_threads()
                              : static_cast<int>(std::thread::hardware_concurrency());
  return facts;
}

int Fail(const absl::Status& status) {
  Log(LogLevel::kError, "can't start",
      {{"code", absl::StatusCodeToString(status.code())},
       {"cause", std::string(status.message())}});
  return kFailed;
}

int Serve(const ServerConfig& config) {
  auto server = Server::Start(config, Facts(config));
  if (!server.ok()) return Fail(server.status());
  if (!config.port_file().empty()) {
    absl::Status status =
        WritePortFile(config.port_file(), (*server)->port(), (*server)->http_port());
    if (!status.ok()) return Fail(status);
  }
  std::atomic<bool> started{false};
  absl::Status start_status;  // written before `started` turns true
  std::thread starter([&] {
    absl::StatusOr<Backend> backend = OpenBackend(config, [&](const std::string& progress) {
      (*server)->state().SetProgress(progress);
      Log(LogLevel::kInfo, "starting", {{"progress", progress}});
    });
    if (backend.ok()) {
      const encoder::ModelInfo& model = backend->encoder->model();
      Log(LogLevel::kInfo, "model",
          {{"id", model.id},
           {"dimension", absl::StrCat(model.dimension)},
           {"precision", model.precision},
           {"because", model.precision_reason}});
      start_status = (*server)->Serve(*std::move(backend));
    } else {
      start_status = backend.status();
    }
    started = true;
  });
  std::optional<std::string> signal;
  while (!signal && !started) signal = AwaitStopSignal(absl::Milliseconds(20));
  if (started && !start_status.ok()) {
    Fail(start_status);
    std::_Exit(kFailed);  // a detached recovery may still run
  }
  while (!signal) signal = AwaitStopSignal(absl::Hours(1));
  Log(LogLevel::kInfo, "stopping", {{"signal", *signal}});
  ForceExitOnSignalOrAfter(
      absl::Milliseconds(config.drain_notice_ms() + config.drain_timeout_ms()) + absl::Seconds(8));
  if (!started) std::_Exit(0);  // nothing was acknowledged yet
  starter.join();
  const absl::Status status = (*server)->Drain();
  server->reset();
  return status.ok() ? 0 : kFailed;
}

int Main(int argc, char** argv) {
  BlockStopSignals();
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  absl::StatusOr<CommandLine> command = ReadConfig(arguments, &FromEnvironment);
  if (command.ok() && command->action == CommandLine::Action::kServe) {
    const ServerConfig& config = command->config;
    absl::Status listen = ParseHostPort(config.listen()).status();
    absl::Status http =
        config.http().empty() ? absl::OkStatus() : ParseHostPort(config.http()).status();
    absl::Status writer =
        config.writer().empty() ? absl::OkStatus() : ParseHostPort(config.writer()).status();
    if (config.role() == "reader" && config.writer().empty()) {
      command = absl::InvalidArgumentError("--role=reader needs --writer HOST:PORT");
    } else if (config.role() == "reader" && !config.restore().empty()) {
      command = absl::InvalidArgumentError("--restore is the writer's: a reader changes nothing");
    } else if (!writer.ok()) {
      command = absl::InvalidArgumentError(absl::StrCat("--writer: ", writer.message()));
    } else if (!listen.ok()) {
      command = absl::InvalidArgumentError(absl::StrCat("--listen: ", listen.message()));
    } else if (!http.ok()) {
      command = absl::InvalidArgumentError(absl::StrCat("--http: ", http.message()));
    }
  }
  if (!command.ok()) {
    std::fprintf(stderr, "imagesearchd: %s\n", std::string(command.status().message()).c_str());
    return kBadFlags;
  }
  switch (command->action) {
    case CommandLine::Action::kHelp:
      std::fputs(HelpText().c_str(), stdout);
      return 0;
    case CommandLine::Action::kHelpMarkdown:
      std::fputs(HelpMarkdown().c_str(), stdout);
      return 0;
    case CommandLine::Action::kVersion:
      std::printf("imagesearchd %s\n", IMAGESEARCH_VERSION);
      return 0;
    case CommandLine::Action::kServe:
      break;
  }
  SetUpLogging(command->config.log_level(), command->config.log_format() == "json");
  RaiseFileLimit();
  if (absl::Status simd = index::LimitSimd(command->config.simd()); !simd.ok()) return Fail(simd);
  return Serve(command->config);
}

}  // namespace
}  // namespace imagesearch::server

int main(int argc, char** argv) { return imagesearch::server::Main(argc, argv); }
