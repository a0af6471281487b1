// The HTTP port as a client sees it, over real sockets; no model and no store behind it.
#include "server/http/http_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "server/http/picture_file.h"

namespace imagesearch::server {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

// A plain TCP client. Reads give up after 5 s.
class Client {
 public:
  explicit Client(int port) : socket_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    const timeval timeout{5, 0};
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  }
  ~Client() { close(socket_); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  bool Send(const std::string& bytes) {
    size_t sent = 0;
    while (sent < bytes.size()) {
      const ssize_t n = send(socket_, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) return false;
      sent += static_cast<size_t>(n);
    }
    return true;
  }

  // Until the server closes.
  std::string ReadAll() {
    std::string all;
    char buffer[4096];
    ssize_t n;
    while ((n = recv(socket_, buffer, sizeof(buffer), 0)) > 0) all.append(buffer, n);
    closed_ = n == 0;
    return all;
  }
  bool closed() const { return closed_; }

 private:
  const int socket_;
  bool closed_ = false;
};

std::string Post(const std::string& path, const std::string& body,
                 const std::string& headers = "Content-Type: application/json\r\n") {
  return absl::StrCat("POST ", path, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
                      headers, "Content-Length: ", body.size(), "\r\n\r\n", body);
}

std::string Get(const std::string& path, const std::string& headers = "") {
  return absl::StrCat("GET ", path, " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n",
                      headers, "\r\n");
}

nlohmann::json BodyOf(const std::string& reply) {
  return nlohmann::json::parse(reply.substr(reply.find("\r\n\r\n") + 4));
}

std::string ReasonIn(const std::string& reply) {
  const nlohmann::json body = BodyOf(reply);
  for (const auto& detail : body["details"]) {
    if (detail.contains("reason")) return detail["reason"];
  }
  return "";
}

class HttpServerTest : public ::testing::Test {
 protected:
  HttpServerTest()
      : state_(SmallLimits(), {"9.8.7", "baseline", 1}),
        guard_(*OpenGuard(ServerConfig())),
        runner_({}, &state_, &metrics_, guard_.get()) {}

  static imagesearch::Limits SmallLimits() {
    imagesearch::Limits limits;
    limits.max_message_bytes = 100000;
    return limits;
  }

  void Start(HttpOptions options = {}) {
    if (options.address.empty()) options.address = "127.0.0.1:0";
    options.live = [this] { return live_; };
    absl::StatusOr<std::unique_ptr<HttpServer>> server =
        HttpServer::Start(options, &state_, &runner_, &metrics_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }

  std::string Ask(const std::string& request) {
    Client client(server_->port());
    client.Send(request);
    return client.ReadAll();
  }

  bool live_ = true;
  Metrics metrics_;
  ServerState state_;
  std::unique_ptr<Guard> guard_;
  CallRunner runner_;
  std::unique_ptr<HttpServer> server_;
};

TEST_F(HttpServerTest, AnswersACallAsJson) {
  Start();
  const std::string reply = Ask(Post("/v1/get-server-info", "{}",
                                     "Content-Type: application/json\r\n"
                                     "X-Request-Id: abc-1\r\n"));
  EXPECT_THAT(reply, StartsWith("HTTP/1.1 200 OK\r\n"));
  EXPECT_THAT(reply, HasSubstr("X-Request-Id: abc-1\r\n"));
  EXPECT_THAT(reply, HasSubstr("Cache-Control: no-store\r\n"));
  EXPECT_EQ(BodyOf(reply)["serverVersion"], "9.8.7");
  EXPECT_EQ(BodyOf(reply)["limits"]["maxMessageBytes"], "100000");
}

TEST_F(HttpServerTest, WithoutABackendCallsAreUnavailableWithAdvice) {
  Start();
  const std::string reply = Ask(Post("/v1/search", R"({"query": {"terms": [{"text": "a"}]}})"));
  EXPECT_THAT(reply, StartsWith("HTTP/1.1 503"));
  EXPECT_THAT(reply, HasSubstr("Retry-After: "));
  EXPECT_EQ(BodyOf(reply)["code"], 14);
  EXPECT_EQ(ReasonIn(reply), "NOT_READY");
}

TEST_F(HttpServerTest, HealthFollowsTheServersState) {
  Start();
  EXPECT_THAT(Ask(Get("/healthz")), StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(Ask(Get("/readyz")), StartsWith("HTTP/1.1 503"));
  state_.SetReady(true);
  EXPECT_THAT(Ask(Get("/readyz")), StartsWith("HTTP/1.1 200"));
  live_ = false;
  EXPECT_THAT(Ask(Get("/healthz")), StartsWith("HTTP/1.1 503"));
}

TEST_F(HttpServerTest, MetricsCountTheCalls) {
  Start();
  Ask(Post("/v1/get-server-info", "{}"));
  const std::string reply = Ask(Get("/metrics"));
  EXPECT_THAT(reply, HasSubstr("text/plain; version=0.0.4"));
  EXPECT_THAT(reply, HasSubstr("GetServerInfo"));
}

TEST_F(HttpServerTest, ThePageComesWithAStrictPolicyAndCanBeCached) {
  Start();
  const std::string page = Ask(Get("/"));
  EXPECT_THAT(page, StartsWith("HTTP/1.1 200"));
  EXPECT_THAT(page, HasSubstr("text/html"));
  EXPECT_THAT(page, HasSubstr("Content-Security-Policy: default-src 'none'; script-src 'self';"));
  EXPECT_THAT(page, HasSubstr("X-Content-Type-Options: nosniff"));
  EXPECT_THAT(page, Not(HasSubstr("http://")));
  EXPECT_THAT(page, Not(HasSubstr("https://")));
  EXPECT_THAT(Ask(Get("/web/main.js")), HasSubstr("text/javascript"));
  const size_t tag = page.find("ETag: ") + 6;
  const std::string etag = page.substr(tag, page.find('\r', tag) - tag);
  EXPECT_THAT(Ask(Get("/", "If-None-Match: " + etag + "\r\n")), StartsWith("HTTP/1.1 304"));
  EXPECT_EQ(BodyOf(Ask(Get("/openapi.json")))["openapi"], "3.0.3");
}

TEST_F(HttpServerTest, UnknownPathsAndMethodsAreNotFound) {
  Start();
  for (const std::string& request :
       {Get("/nothing"), Get("/web/../server"), Get("/openapiXjson"), Get("/v1/search"),
        Post("/v1/nothing", "{}"), Get("/" + std::string(7000, 'a'))}) {
    const std::string reply = Ask(request);
    EXPECT_THAT(reply, StartsWith("HTTP/1.1 404")) << request.substr(0, 40);
    EXPECT_EQ(ReasonIn(reply), "NO_SUCH_PATH");
  }
}

TEST_F(HttpServerTest, BodiesThatCannotBeReadAreRefused) {
  Start();
  const auto check = [&](const std::string& request, int status, const std::string& reason) {
    const std::string reply = Ask(request);
    EXPECT_THAT(reply, StartsWith(absl::StrCat("HTTP/1.1 ", status))) << request.substr(0, 200);
    EXPECT_EQ(ReasonIn(reply), reason) << reply;
  };
  const std::string json = "Content-Type: application/json\r\n";
  check(Post("/v1/search", "{"), 400, "BAD_JSON");
  check(Post("/v1/search", "{}", ""), 415, "UNSUPPORTED_CONTENT");
  check(Post("/v1/search", "{}", "Content-Type: text/plain\r\n"), 415, "UNSUPPORTED_CONTENT");
  check(Post("/v1/search", "x", json + "Content-Encoding: gzip\r\n"), 415, "UNSUPPORTED_CONTENT");
  check(Post("/v1/search", std::string(100001, ' ')), 413, "BODY_TOO_LARGE");
  check(Post("/v1/search", "{}", json + "imagesearch-priority: urgent\r\n"), 400, "BAD_PRIORITY");
  check(Post("/v1/search", "{}", json + "imagesearch-timeout-ms: soon\r\n"), 400, "BAD_HEADER");
  check(Post("/v1/search", "--x\r\nnonsense", "Content-Type: multipart/form-data; boundary=x\r\n"),
        400, "BAD_FORM");
}

TEST_F(HttpServerTest, AChunkedBodyCannotPassTheLimit) {
  Start();
  Client client(server_->port());
  client.Send(
      "POST /v1/search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
      "Transfer-Encoding: chunked\r\n\r\n");
  const std::string chunk = "4000\r\n" + std::string(0x4000, ' ') + "\r\n";
  for (int i = 0; i < 64 && client.Send(chunk); ++i) {
  }
  const std::string reply = client.ReadAll();
  EXPECT_THAT(reply, StartsWith("HTTP/1.1 413"));
  EXPECT_EQ(ReasonIn(reply), "BODY_TOO_LARGE");
}

TEST_F(HttpServerTest, AFormPartFillsItsField) {
  Start();
  const std::string body =
      "--x\r\nContent-Disposition: form-data; name=\"nosuch\"\r\n\r\n1\r\n--x--\r\n";
  const std::string reply =
      Ask(Post("/v1/search", body, "Content-Type: multipart/form-data; boundary=x\r\n"));
  EXPECT_THAT(reply, StartsWith("HTTP/1.1 400"));
  EXPECT_THAT(BodyOf(reply)["message"].get<std::string>(), HasSubstr("form part \"nosuch\""));
}

TEST_F(HttpServerTest, PagesOfOtherSitesAreRefused) {
  Start();
  const std::string json = "Content-Type: application/json\r\n";
  for (const char* header :
       {"Origin: http://evil.example\r\n", "Sec-Fetch-Site: cross-site\r\n", "Origin: null\r\n"}) {
    const std::string reply = Ask(Post("/v1/get-server-info", "{}", json + header));
    EXPECT_THAT(reply, StartsWith("HTTP/1.1 403")) << header;
    EXPECT_EQ(ReasonIn(reply), "CROSS_ORIGIN");
  }
  EXPECT_THAT(Ask(Post("/v1/get-server-info", "{}",
                       json + "Origin: http://localhost\r\nSec-Fetch-Site: same-origin\r\n")),
              StartsWith("HTTP/1.1 200"));
}

TEST_F(HttpServerTest, OneConnectionServesManyRequests) {
  Start();
  Client client(server_->port());
  for (int i = 0; i < 3; ++i) client.Send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
  client.Send(Get("/healthz"));
  const std::string replies = client.ReadAll();
  size_t count = 0;
  for (size_t at = replies.find("HTTP/1.1 200"); at != std::string::npos;
       at = replies.find("HTTP/1.1 200", at + 1)) {
    ++count;
  }
  EXPECT_EQ(count, 4u);
}

TEST_F(HttpServerTest, ASlowRequestIsCutWhileOthersAreServed) {
  HttpOptions options;
  options.threads = 2;
  options.request_timeout_ms = 600;
  Start(options);
  Client slow(server_->port());
  const absl::Time start = absl::Now();
  // A byte now and then would keep a timeout for each read from ever firing.
  std::thread drip([&] {
    slow.Send("POST /v1/search HTTP/1.1\r\n");
    for (int i = 0; i < 100 && slow.Send("a"); ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
  });
  EXPECT_THAT(Ask(Get("/healthz")), StartsWith("HTTP/1.1 200"));
  slow.ReadAll();
  EXPECT_LT(absl::Now() - start, absl::Seconds(4));
  drip.join();
}

TEST_F(HttpServerTest, ConnectionsBeyondTheQueueAreTurnedAwayAtOnce) {
  HttpOptions options;
  options.threads = 1;
  Start(options);
  std::vector<std::unique_ptr<Client>> idle;
  for (int i = 0; i < 80; ++i) {
    idle.push_back(std::make_unique<Client>(server_->port()));
    idle.back()->Send("GET /healthz HTTP/1.1\r\n");  // never completed
  }
  const absl::Time start = absl::Now();
  EXPECT_THAT(Ask(Get("/healthz")), StartsWith("HTTP/1.1 503"));
  EXPECT_LT(absl::Now() - start, absl::Seconds(2));
  idle.clear();
}

TEST_F(HttpServerTest, GarbageDoesNoHarm) {
  Start();
  for (const std::string& bytes :
       {std::string("\r\n\r\n"), std::string(100, '\0'), std::string("GET"),
        std::string("\xff\xfe\r\n\r\n"),
        "GET / HTTP/1.1\r\n" + std::string(9000, 'h') + ": x\r\n\r\n",
        std::string("POST /v1/search HTTP/1.1\r\nContent-Length: -5\r\n\r\n"),
        std::string("POST /v1/search HTTP/1.1\r\nContent-Type: application/json\r\n"
                    "Transfer-Encoding: chunked\r\n\r\nzzzz\r\n")}) {
    Client client(server_->port());
    client.Send(bytes);
  }
  EXPECT_THAT(Ask(Get("/healthz")), StartsWith("HTTP/1.1 200"));
}

TEST(PictureFileTest, OnlyPicturesInsideTheFolderAreRead) {
  namespace fs = std::filesystem;
  const fs::path base = fs::path(::testing::TempDir()) / absl::StrCat("pictures-", getpid());
  fs::create_directories(base / "shown/sub");
  fs::create_directories(base / "shown-not");
  const auto write = [&](const fs::path& path, const std::string& bytes) {
    std::ofstream(base / path, std::ios::binary) << bytes;
  };
  const std::string png = "\x89PNG\r\n\x1a\nrest";
  write("shown/sub/a.png", png);
  write("shown/page.svg", "<svg onload='x'/>");
  write("shown-not/b.png", png);
  fs::create_symlink(base / "shown-not/b.png", base / "shown/link.png");
  const std::string root = base / "shown";
  for (const std::string& path : {std::string("sub/a.png"), root + "/sub/a.png"}) {
    const absl::StatusOr<PictureFile> picture = ReadPicture(root, path, 1000);
    ASSERT_TRUE(picture.ok()) << path;
    EXPECT_EQ(picture->type, "image/png");
    EXPECT_EQ(picture->bytes, png);
  }
  for (const std::string& path :
       {std::string(""), std::string("sub"), std::string("page.svg"), std::string("link.png"),
        std::string("../shown-not/b.png"), (base / "shown-not/b.png").string(),
        std::string("missing.png"), std::string("/etc/passwd"), std::string("sub/a.png\0", 10)}) {
    EXPECT_EQ(ReadPicture(root, path, 1000).status().code(), absl::StatusCode::kNotFound) << path;
  }
  EXPECT_FALSE(ReadPicture(root, "sub/a.png", png.size() - 1).ok());
  fs::remove_all(base);
}

TEST_F(HttpServerTest, WithoutAFolderNoPicturesAreShown) {
  Start();
  EXPECT_EQ(BodyOf(Ask(Get("/web/settings.json")))["pictures"], false);
  EXPECT_THAT(Ask(Get("/picture?id=a")), StartsWith("HTTP/1.1 404"));
}

TEST_F(HttpServerTest, APortInUseAndABadAddressAreErrors) {
  Start();
  HttpOptions options;
  options.address = absl::StrCat("127.0.0.1:", server_->port());
  EXPECT_EQ(HttpServer::Start(options, &state_, &runner_, &metrics_).status().code(),
            absl::StatusCode::kUnavailable);
  for (const char* address : {"", "localhost", "localhost:x", "localhost:70000", "1.2.3.4:-1"}) {
    options.address = address;
    EXPECT_EQ(HttpServer::Start(options, &state_, &runner_, &metrics_).status().code(),
              absl::StatusCode::kInvalidArgument)
        << address;
  }
}

TEST_F(HttpServerTest, StopsWhileConnectionsAreIdle) {
  Start();
  Client idle(server_->port());
  idle.Send("GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n");
  const absl::Time start = absl::Now();
  server_->Stop();
  server_->Stop();
  EXPECT_LT(absl::Now() - start, absl::Seconds(4));
}

}  // namespace
}  // namespace imagesearch::server
