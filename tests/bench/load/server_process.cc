// Starts, watches and stops the child.
#include "tests/bench/load/server_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "grpcpp/create_channel.h"
#include "grpcpp/security/credentials.h"
#include "grpcpp/support/channel_arguments.h"

namespace imagesearch::bench {
namespace {

constexpr absl::Duration kStartWithin = absl::Minutes(3);
constexpr absl::Duration kStopWithin = absl::Seconds(40);
constexpr int kMessageBytes = 64 << 20;

std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

// The body of a GET over loopback; empty when it fails.
std::string Fetch(int port, const std::string& path) {
  const int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(static_cast<uint16_t>(port));
  std::string reply;
  const std::string request =
      absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  if (connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 &&
      send(connection, request.data(), request.size(), MSG_NOSIGNAL) ==
          static_cast<ssize_t>(request.size())) {
    char buffer[4096];
    ssize_t size = 0;
    while ((size = recv(connection, buffer, sizeof(buffer), 0)) > 0) {
      reply.append(buffer, static_cast<size_t>(size));
    }
  }
  close(connection);
  const size_t body = reply.find("\r\n\r\n");
  return body == std::string::npos ? "" : reply.substr(body + 4);
}

}  // namespace

absl::StatusOr<std::unique_ptr<ServerProcess>> ServerProcess::Start(
    const std::string& binary, const std::vector<std::string>& flags) {
  std::unique_ptr<ServerProcess> server(new ServerProcess());
  std::string folder = (std::filesystem::temp_directory_path() / "load_bench-XXXXXX").string();
  if (mkdtemp(folder.data()) == nullptr) {
    return absl::UnavailableError(absl::StrCat("can't make a folder like ", folder));
  }
  server->folder_ = folder;
  std::vector<std::string> arguments = {binary,
                                        "--data-dir=" + folder + "/data",
                                        "--listen=127.0.0.1:0",
                                        "--http=127.0.0.1:0",
                                        "--port-file=" + folder + "/port",
                                        "--drain-notice-ms=0",
                                        "--log-level=warn",
                                        "--max-client-share=100",  // all clients have one address
                                        "--slow-call-ms=0"};
  arguments.insert(arguments.end(), flags.begin(), flags.end());
  std::vector<char*> pointers;
  for (std::string& argument : arguments) pointers.push_back(argument.data());
  pointers.push_back(nullptr);
  const std::string log_path = folder + "/log";
  server->pid_ = fork();
  if (server->pid_ < 0) return absl::UnavailableError("can't fork");
  if (server->pid_ == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    const int log = open(log_path.c_str(), O_CREAT | O_WRONLY | O_TRUNC, 0600);
    dup2(log, STDOUT_FILENO);
    dup2(log, STDERR_FILENO);
    execv(binary.c_str(), pointers.data());
    _exit(127);
  }
  if (absl::Status status = server->AwaitReady(); !status.ok()) return status;
  return server;
}

absl::Status ServerProcess::AwaitReady() {
  const absl::Time end = absl::Now() + kStartWithin;
  std::unique_ptr<client::Client> client;
  while (absl::Now() < end) {
    int how = 0;
    if (waitpid(pid_, &how, WNOHANG) == pid_) {
      pid_ = 0;
      return absl::UnavailableError(absl::StrCat("the server ended while starting: ", LogTail()));
    }
    if (port_ == 0) {
      const std::string ports = ReadFile(folder_ + "/port");
      const std::vector<std::string> lines = absl::StrSplit(ports, '\n');
      if (lines.size() >= 2 && absl::SimpleAtoi(lines[0], &port_)) {
        absl::SimpleAtoi(lines[1], &http_port_);
        auto made = Connect(absl::Seconds(5));
        if (!made.ok()) return made.status();
        client = *std::move(made);
      }
    } else if (auto ready = client->IsServing("ready"); ready.ok() && *ready) {
      return absl::OkStatus();
    }
    absl::SleepFor(absl::Milliseconds(50));
  }
  return absl::UnavailableError(absl::StrCat("the server is not ready: ", LogTail()));
}

std::shared_ptr<grpc::Channel> ServerProcess::Channel() const {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  arguments.SetMaxSendMessageSize(kMessageBytes);
  arguments.SetMaxReceiveMessageSize(kMessageBytes);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  return grpc::CreateCustomChannel(absl::StrCat("127.0.0.1:", port_),
                                   grpc::InsecureChannelCredentials(), arguments);
}

absl::StatusOr<std::unique_ptr<client::Client>> ServerProcess::Connect(
    absl::Duration timeout) const {
  client::ClientOptions options;
  options.timeout = timeout;
  return std::make_unique<client::Client>(Channel(), options);
}

double ServerProcess::Metric(const std::string& family, const std::string& label) const {
  double sum = 0;
  for (absl::string_view line : absl::StrSplit(Fetch(http_port_, "/metrics"), '\n')) {
    if (!absl::StartsWith(line, family) || !absl::StrContains(line, label)) continue;
    const char next = line.size() > family.size() ? line[family.size()] : '\0';
    double value = 0;
    if ((next == '{' || next == ' ') &&
        absl::SimpleAtod(line.substr(line.rfind(' ') + 1), &value)) {
      sum += value;
    }
  }
  return sum;
}

std::string ServerProcess::LogTail() const {
  const std::string log = ReadFile(folder_ + "/log");
  return log.substr(log.size() > 2000 ? log.size() - 2000 : 0);
}

absl::Status ServerProcess::Stop() {
  kill(pid_, SIGTERM);
  for (const absl::Time end = absl::Now() + kStopWithin; absl::Now() < end;) {
    int how = 0;
    if (waitpid(pid_, &how, WNOHANG) == pid_) {
      pid_ = 0;
      if (WIFEXITED(how) && WEXITSTATUS(how) == 0) return absl::OkStatus();
      return absl::InternalError(absl::StrCat("the server ended badly: ", LogTail()));
    }
    absl::SleepFor(absl::Milliseconds(20));
  }
  return absl::DeadlineExceededError(absl::StrCat("the server does not stop: ", LogTail()));
}

ServerProcess::~ServerProcess() {
  if (pid_ > 0) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

}  // namespace imagesearch::bench
