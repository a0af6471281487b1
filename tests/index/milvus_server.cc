// Starts and ends the process group of a server.
#include "tests/index/milvus_server.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gtest/gtest.h"

namespace imagesearch::index {
namespace {

namespace fs = std::filesystem;

constexpr absl::Duration kStartTime = absl::Minutes(2);

int FreePort() {
  const int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof(address);
  EXPECT_EQ(bind(listener, reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), 0);
  close(listener);
  return ntohs(address.sin_port);
}

std::string ReadAll(const std::string& path) {
  std::ifstream in(path);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace

MilvusServer::MilvusServer(MilvusServerOptions options) : options_(std::move(options)) {
  const char* temporary = std::getenv("TMPDIR");
  const std::string base = temporary == nullptr ? "/tmp" : temporary;
  std::string folder = base + "/imagesearch-milvus-XXXXXX";
  EXPECT_NE(mkdtemp(folder.data()), nullptr);
  folder_ = folder;
  if (options_.kind == MilvusKind::kReal) {
    lock_ = open((base + "/imagesearch-milvus.lock").c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666);
    EXPECT_EQ(flock(lock_, LOCK_EX), 0);
  }
  port_ = FreePort();
  address_ = absl::StrCat("127.0.0.1:", port_);
  EXPECT_EQ(prctl(PR_SET_CHILD_SUBREAPER, 1), 0);
  Start();
}

MilvusServer::~MilvusServer() {
  Kill();
  if (lock_ >= 0) close(lock_);
  std::error_code ignored;
  if (!::testing::Test::HasFailure()) fs::remove_all(folder_, ignored);
}

void MilvusServer::Spawn(const std::vector<std::string>& command) {
  ASSERT_TRUE(fs::exists(command[0]))
      << command[0] << " is missing: run deploy/install-deps.sh --tests";
  std::vector<char*> arguments;
  for (const std::string& part : command) arguments.push_back(const_cast<char*>(part.c_str()));
  arguments.push_back(nullptr);
  const std::string log = folder_ + "/log";
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  group_ = fork();
  ASSERT_GE(group_, 0);
  if (group_ == 0) {
    setsid();
    const int out = open(log.c_str(), O_CREAT | O_WRONLY | O_APPEND, 0644);
    dup2(out, 1);
    dup2(out, 2);
    execv(arguments[0], arguments.data());
    _exit(127);
  }
  // Kills the group when this process is gone, however it ended.
  const pid_t keeper = fork();
  ASSERT_GE(keeper, 0);
  if (keeper == 0) {
    if (fork() != 0) _exit(0);
    setsid();
    close(ends[1]);
    if (lock_ >= 0) close(lock_);
    char byte;
    while (read(ends[0], &byte, 1) < 0 && errno == EINTR) {
    }
    kill(-group_, SIGKILL);
    _exit(0);
  }
  waitpid(keeper, nullptr, 0);
  close(ends[0]);
  keeper_pipe_ = ends[1];
}

void MilvusServer::Start() {
  const std::string data = folder_ + "/data";
  if (options_.kind == MilvusKind::kLite) {
    fs::create_directories(data);
    Spawn({IMAGESEARCH_MILVUS_DEPS "/milvus-lite/bin/milvus-lite", "server", "--data-dir", data,
           "--host", "127.0.0.1", "--port", absl::StrCat(port_)});
    return;
  }
  std::vector<std::string> command = {IMAGESEARCH_MILVUS_DEPS "/milvus/bin/milvus-server",
                                      "--data",
                                      data,
                                      "--proxy-port",
                                      absl::StrCat(port_),
                                      "--extra-config",
                                      "proxy.timeTickInterval=20"};
  if (!options_.certificate_file.empty()) {
    for (const std::string& part :
         {std::string("--authorization-enabled"), std::string("true"), std::string("--tls-mode"),
          std::string("1"), std::string("--server-pem-path"), options_.certificate_file,
          std::string("--server-key-path"), options_.key_file, std::string("--ca-pem-path"),
          options_.certificate_file}) {
      command.push_back(part);
    }
  }
  Spawn(command);
}

void MilvusServer::Kill() {
  if (group_ <= 0) return;
  kill(-group_, SIGKILL);
  waitpid(group_, nullptr, 0);
  // Its children became ours (PR_SET_CHILD_SUBREAPER). Their ports must be free again.
  while (waitpid(-group_, nullptr, 0) > 0 || errno == EINTR) {
  }
  group_ = 0;
  close(keeper_pipe_);
}

void MilvusServer::Freeze() { kill(-group_, SIGSTOP); }
void MilvusServer::Thaw() { kill(-group_, SIGCONT); }

bool MilvusServer::AwaitPort() {
  const absl::Time end = absl::Now() + kStartTime;
  while (absl::Now() < end && group_ > 0) {
    const int connection = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons(static_cast<uint16_t>(port_));
    const int failed = connect(connection, reinterpret_cast<sockaddr*>(&address), sizeof(address));
    close(connection);
    if (failed == 0) return true;
    if (waitpid(group_, nullptr, WNOHANG) == group_) break;
    absl::SleepFor(absl::Milliseconds(50));
  }
  ADD_FAILURE() << "the server did not start: " << ReadAll(folder_ + "/log");
  return false;
}

std::unique_ptr<Database> MilvusServer::Open(MilvusOptions options) {
  if (!AwaitPort()) return nullptr;
  options.address = address_;
  options.open_timeout = kStartTime;
  auto opened = OpenMilvus(options);
  EXPECT_TRUE(opened.ok()) << opened.status() << "\n" << ReadAll(folder_ + "/log");
  return opened.ok() ? *std::move(opened) : nullptr;
}

}  // namespace imagesearch::index
