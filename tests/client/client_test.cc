// The typed API: errors with reasons, retries, tokens, health.
#include "client/client.h"

#include <string>

#include "absl/time/clock.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_server.h"

namespace imagesearch::client {
namespace {

std::unique_ptr<Client> Connect(const FakeServer& server, ClientOptions options = {}) {
  options.channel.target = server.address();
  return *Client::Connect(options);
}

v1::UpsertRequest OneImage(const std::string& id, const std::string& content) {
  v1::UpsertRequest request;
  request.add_images()->set_id(id);
  request.mutable_images(0)->set_content(content);
  return request;
}

TEST(ClientTest, ATextFindsTheImageThatWasStored) {
  FakeServer server;
  auto client = Connect(server);
  ASSERT_TRUE(client->Upsert(OneImage("a", "cat 1")).ok());
  ASSERT_TRUE(client->Upsert(OneImage("b", "dog 1")).ok());
  v1::SearchRequest request;
  *request.mutable_query()->add_terms() = TextTerm("cat");
  auto response = client->Search(request);
  ASSERT_TRUE(response.ok()) << response.status();
  ASSERT_EQ(response->hits_size(), 2);
  EXPECT_EQ(response->hits(0).id(), "a");
}

TEST(ClientTest, AnErrorKeepsItsCodeReasonAndMessage) {
  FakeServer server;
  v1::CountRequest request;
  request.set_collection("absent");
  const absl::Status status = Connect(server)->Count(request).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReasonOf(status), "COLLECTION_NOT_FOUND");
  EXPECT_EQ(status.message(), "no collection absent");
}

TEST(ClientTest, AnUploadLargerThanTheDefaultRetryBufferIsRetried) {
  FakeServer server;
  auto client = Connect(server);
  server.faults().unavailable_calls = 2;
  auto response = client->Upsert(OneImage("big", std::string(3 << 20, 'x')));
  EXPECT_TRUE(response.ok()) << response.status();
  EXPECT_EQ(server.ImageCount("default"), 1u);
}

TEST(ClientTest, OneAttemptMeansNoRetry) {
  FakeServer server;
  ClientOptions options;
  options.channel.max_attempts = 1;
  auto client = Connect(server, options);
  server.faults().unavailable_calls = 1;
  EXPECT_EQ(client->GetServerInfo().status().code(), absl::StatusCode::kUnavailable);
}

TEST(ClientTest, AnUnreachableServerIsUnavailableWithinItsAttempts) {
  ClientOptions options;
  options.channel.target = "127.0.0.1:1";
  auto client = *Client::Connect(options);
  const absl::Time start = absl::Now();
  EXPECT_EQ(client->GetServerInfo().status().code(), absl::StatusCode::kUnavailable);
  EXPECT_LT(absl::Now() - start, absl::Seconds(15));
}

TEST(ClientTest, TokenAndPriorityTravelWithEachCall) {
  FakeServer server;
  ClientOptions options;
  options.token = "secret";
  options.bulk = true;
  ASSERT_TRUE(Connect(server, options)->GetServerInfo().ok());
  const auto metadata = server.last_metadata();
  EXPECT_EQ(metadata.find("authorization")->second, "Bearer secret");
  EXPECT_EQ(metadata.find("imagesearch-priority")->second, "bulk");
}

TEST(ClientTest, HealthTellsReadyFromUnknownServices) {
  FakeServer server;
  auto client = Connect(server);
  auto ready = client->IsServing("ready");
  ASSERT_TRUE(ready.ok()) << ready.status();
  EXPECT_TRUE(*ready);
  EXPECT_EQ(client->IsServing("nonsense").status().code(), absl::StatusCode::kNotFound);
}

TEST(ClientTest, AMissingPemFileIsRefusedByName) {
  ClientOptions options;
  options.channel.tls = true;
  options.channel.ca_file = "/nonexistent/ca.pem";
  const absl::Status status = Client::Connect(options).status();
  EXPECT_EQ(ReasonOf(status), "BAD_PEM_FILE");
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("/nonexistent/ca.pem"));
}

}  // namespace
}  // namespace imagesearch::client
