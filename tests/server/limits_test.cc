// One client can't take everything: shares of calls and streams, connections, addresses.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "server/grpc/acceptor.h"
#include "server/health/watchdog.h"
#include "server/reply_budget.h"
#include "server/security/client_shares.h"
#include "tests/server/running_server.h"

namespace imagesearch::server {
namespace {

using ::testing::HasSubstr;

int ConnectTo(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  const timeval timeout{5, 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  return fd;
}

// Whether the server closed the connection without a word, within 5 s.
bool IsClosed(int fd) {
  char byte;
  return recv(fd, &byte, 1, 0) == 0;
}

bool Eventually(const std::function<bool()>& condition) {
  for (int i = 0; i < 500; ++i) {
    if (condition()) return true;
    absl::SleepFor(absl::Milliseconds(20));
  }
  return false;
}

TEST(ClientOfPeerTest, AddressesWithoutPortsAndHalvesOfIpv6) {
  EXPECT_EQ(ClientOfPeer("ipv4:10.0.0.7:40001"), "10.0.0.7");
  EXPECT_EQ(ClientOfPeer("10.0.0.7:40002"), "10.0.0.7");
  EXPECT_EQ(ClientOfPeer("ipv6:%5B2001:db8:1:2:3:4:5:6%5D:443"), "2001:db8:1:2::/64");
  EXPECT_EQ(ClientOfPeer("[2001:db8:1:2:ffff::1]:443"), "2001:db8:1:2::/64");
  EXPECT_EQ(ClientOfPeer("ipv6:%5B::ffff:10.0.0.7%5D:5"), "10.0.0.7");
  EXPECT_EQ(ClientOfPeer("ipv6:[::1]:5"), "::1");
  EXPECT_EQ(ClientOfPeer("unix:"), "unix:");
  EXPECT_EQ(ClientOfPeer(""), "");
}

TEST(ClientSharesTest, WhatIsGivenBackCanBeTakenAgain) {
  ClientShares<2> shares;
  EXPECT_TRUE(shares.Take("a", 0, 2, 3));
  EXPECT_FALSE(shares.Take("a", 0, 2, 3));
  EXPECT_TRUE(shares.Take("a", 1, 3, 3));
  EXPECT_TRUE(shares.Take("b", 0, 3, 3));
  shares.Give("a", 0, 2);
  EXPECT_TRUE(shares.Take("a", 0, 3, 3));
  shares.Give("a", 0, 3);
  shares.Give("a", 1, 3);
  EXPECT_EQ(shares.clients(), 1u);
  shares.Give("b", 0, 3);
  EXPECT_EQ(shares.clients(), 0u);
}

TEST(ReplyBudgetTest, RepliesThatNobodyReadsFillTheClientsShareThenTheWhole) {
  auto budget = std::make_shared<ReplyBudget>(1000, 0.5);
  const auto take = [&](const std::string& client, uint64_t bytes, bool always, CallContext* call) {
    call->client = client;
    return std::string(ReasonOf(budget->Take(bytes, always, call)));
  };
  std::optional<CallContext> a1(std::in_place), a2(std::in_place), b1(std::in_place);
  CallContext a3, b2, c;
  EXPECT_EQ(take("a", 300, false, &*a1), "");
  EXPECT_EQ(take("a", 201, false, &a3), "CLIENT_SHARE");
  EXPECT_EQ(take("a", 200, false, &*a2), "");
  EXPECT_EQ(take("b", 450, false, &*b1), "");
  EXPECT_EQ(take("c", 51, false, &c), "OVERLOADED");
  EXPECT_EQ(budget->bytes(), 950u);
  // What a write answers is told in any case.
  EXPECT_EQ(take("a", 10, true, &a3), "");
  EXPECT_EQ(budget->bytes(), 960u);
  // Room comes back with the calls, also after the runner that made the budget is gone.
  a1.reset();
  EXPECT_EQ(take("c", 51, false, &c), "");
  a2.reset();
  b1.reset();
  // A single reply may be larger than the share.
  EXPECT_EQ(take("b", 800, false, &b2), "");
  budget.reset();
}

TEST(LimitsTest, OneClientCantOpenEveryStream) {
  RunningServer running([](ServerConfig& config) {
    config.set_max_streams(4);
    config.set_max_client_share(50);
  });
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  std::vector<
      std::unique_ptr<grpc::ClientReaderWriter<v1::UpsertStreamRequest, v1::UpsertStreamResponse>>>
      streams;
  for (int i = 0; i < 2; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    streams.push_back(running.images().UpsertStream(contexts.back().get()));
  }
  ASSERT_TRUE(Eventually([&] { return running.server().streams().open() == 2; }));
  grpc::ClientContext third;
  auto refused = running.images().UpsertStream(&third);
  v1::UpsertStreamResponse response;
  EXPECT_FALSE(refused->Read(&response));
  EXPECT_EQ(Outcome(refused->Finish()), "RESOURCE_EXHAUSTED CLIENT_SHARE");
  streams[0]->WritesDone();
  EXPECT_TRUE(streams[0]->Finish().ok());
  ASSERT_TRUE(Eventually([&] { return running.server().streams().open() == 1; }));
  grpc::ClientContext fourth;
  auto taken = running.images().UpsertStream(&fourth);
  taken->WritesDone();
  EXPECT_TRUE(taken->Finish().ok());
  streams[1]->WritesDone();
  EXPECT_TRUE(streams[1]->Finish().ok());
}

TEST(LimitsTest, OneClientCantHoldEveryPlaceOfALane) {
  encoder::FakeEncoderOptions slow;
  slow.batch_time = absl::Milliseconds(300);
  RunningServer running(
      [](ServerConfig& config) {
        config.set_max_encode_calls(4);
        config.set_max_client_share(50);
      },
      true, slow);
  std::atomic<int> served{0}, refused{0};
  std::vector<std::thread> callers;
  for (int i = 0; i < 8; ++i) {
    callers.emplace_back([&, i] {
      v1::SearchRequest request;
      request.mutable_query()->add_terms()->set_text("text " + std::to_string(i));
      v1::SearchResponse response;
      const std::string outcome =
          Outcome(running.images().Search(Context().get(), request, &response));
      if (outcome == "OK") ++served;
      if (outcome == "RESOURCE_EXHAUSTED CLIENT_SHARE") ++refused;
    });
  }
  for (std::thread& caller : callers) caller.join();
  EXPECT_EQ(served + refused, 8);
  EXPECT_GE(refused, 1);
  EXPECT_GE(served, 2);
}

TEST(LimitsTest, ConnectionsAboveTheBoundAreClosedAtOnceAndRoomComesBack) {
  RunningServer running([](ServerConfig& config) {
    config.set_max_connections(20);
    config.set_max_client_share(50);
  });
  Acceptor& acceptor = running.server().acceptor();
  // The server asks first for a moment: the fixture's own channel may hold a connection.
  v1::CountResponse count;
  ASSERT_TRUE(running.images().Count(Context().get(), {}, &count).ok());
  const int held = acceptor.open();
  std::vector<int> connections;
  for (int i = held; i < 10; ++i) connections.push_back(ConnectTo(running.server().port()));
  ASSERT_TRUE(Eventually([&] { return acceptor.open() == 10; }));
  const int extra = ConnectTo(running.server().port());
  EXPECT_TRUE(IsClosed(extra));
  close(extra);
  // Too many connections are no reason to restart the server.
  EXPECT_TRUE(ProbeListener("127.0.0.1", running.server().port(), false, absl::Seconds(5)).ok());
  EXPECT_THAT(running.server().metrics().Text(),
              HasSubstr("imagesearch_connections_refused_total{reason=\"client_share\"} 2"));
  // Those that have one go on being served.
  EXPECT_TRUE(running.images().Count(Context().get(), {}, &count).ok());
  for (const int fd : connections) close(fd);
  ASSERT_TRUE(Eventually([&] { return acceptor.open() == held; }));
  EXPECT_TRUE(
      v1::ImageSearch::NewStub(running.NewChannel())->Count(Context().get(), {}, &count).ok());
}

// gRPC 1.51's own listener never accepts again after this (CVE-2023-4785).
TEST(LimitsTest, AServerThatRanOutOfDescriptorsIsNotLiveAndComesBack) {
  RunningServer running([](ServerConfig& config) { config.set_max_client_share(100); });
  const int port = running.server().port();
  v1::CountResponse count;
  ASSERT_TRUE(running.images().Count(Context().get(), {}, &count).ok());
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  // Client sockets first: they are of this process too.
  std::vector<int> clients;
  for (int i = 0; i < 20; ++i) clients.push_back(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  rlimit tight = before;
  tight.rlim_cur = static_cast<rlim_t>(clients.back()) + 5;
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &tight), 0);
  std::vector<int> hoard;
  for (int fd = dup(0); fd >= 0; fd = dup(0)) hoard.push_back(fd);
  EXPECT_FALSE(ProbeListener("127.0.0.1", port, false, absl::Seconds(2)).ok());
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  int closed = 0;
  for (const int fd : clients) {
    const timeval timeout{5, 0};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
    if (connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 && IsClosed(fd)) {
      ++closed;
    }
  }
  EXPECT_EQ(closed, 20);  // refused at once, not left waiting
  for (const int fd : hoard) close(fd);
  for (const int fd : clients) close(fd);
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_TRUE(
      Eventually([&] { return ProbeListener("127.0.0.1", port, false, absl::Seconds(5)).ok(); }));
  EXPECT_TRUE(
      v1::ImageSearch::NewStub(running.NewChannel())->Count(Context().get(), {}, &count).ok());
  EXPECT_THAT(running.server().metrics().Text(),
              HasSubstr("imagesearch_connections_refused_total{reason=\"descriptors\"} 20"));
}

TEST(LimitsTest, TheServerListensOnAllAddressesOfAName) {
  RunningServer running([](ServerConfig& config) { config.set_listen("[::]:0"); });
  EXPECT_TRUE(ProbeListener("127.0.0.1", running.server().port(), false, absl::Seconds(5)).ok());
  EXPECT_TRUE(ProbeListener("[::]", running.server().port(), false, absl::Seconds(5)).ok());
}

}  // namespace
}  // namespace imagesearch::server
