// Start, health, admission, overload, drain; and UpsertStream through all of them.
#include <atomic>
#include <future>
#include <thread>

#include "gmock/gmock.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "gtest/gtest.h"
#include "tests/server/running_server.h"

namespace imagesearch::server {
namespace {

using grpc::health::v1::Health;
using grpc::health::v1::HealthCheckRequest;
using grpc::health::v1::HealthCheckResponse;

std::string HealthOf(RunningServer& running, const std::string& service) {
  HealthCheckRequest request;
  request.set_service(service);
  HealthCheckResponse response;
  const grpc::Status status =
      Health::NewStub(running.channel())->Check(Context().get(), request, &response);
  return status.ok() ? HealthCheckResponse::ServingStatus_Name(response.status())
                     : "code " + std::to_string(status.error_code());
}

v1::SearchRequest TextQuery(const std::string& text) {
  v1::SearchRequest request;
  request.mutable_query()->add_terms()->set_text(text);
  return request;
}

v1::UpsertStreamRequest StreamItem(uint64_t sequence, const std::string& id,
                                   const std::string& content) {
  v1::UpsertStreamRequest request;
  request.set_sequence(sequence);
  request.mutable_image()->set_id(id);
  request.mutable_image()->set_content(content);
  return request;
}

TEST(LifecycleTest, AStartingServerSaysSoAndIsLiveButNotReady) {
  RunningServer running(nullptr, /*serve=*/false);
  running.server().state().SetProgress("replaying 3 of 9 changes");
  EXPECT_EQ(HealthOf(running, "live"), "SERVING");
  EXPECT_EQ(HealthOf(running, "ready"), "NOT_SERVING");
  EXPECT_EQ(HealthOf(running, ""), "NOT_SERVING");
  EXPECT_EQ(HealthOf(running, "unknown"), "code 5");
  v1::SearchResponse response;
  auto context = Context();
  const grpc::Status status = running.images().Search(context.get(), TextQuery("x"), &response);
  EXPECT_EQ(Outcome(status), "UNAVAILABLE NOT_READY");
  EXPECT_EQ(context->GetServerTrailingMetadata().count("grpc-retry-pushback-ms"), 1u);
  v1::GetServerInfoResponse info;
  ASSERT_EQ(Outcome(running.admin().GetServerInfo(Context().get(), {}, &info)), "OK");
  EXPECT_FALSE(info.ready());
  EXPECT_EQ(info.progress(), "replaying 3 of 9 changes");
  auto stream_context = Context();
  auto stream = running.images().UpsertStream(stream_context.get());
  v1::UpsertStreamResponse ack;
  EXPECT_FALSE(stream->Read(&ack));
  EXPECT_EQ(Outcome(stream->Finish()), "UNAVAILABLE NOT_READY");

  running.Serve();
  EXPECT_EQ(HealthOf(running, "ready"), "SERVING");
  EXPECT_EQ(HealthOf(running, ""), "SERVING");
  EXPECT_EQ(Outcome(running.images().Search(Context().get(), TextQuery("x"), &response)), "OK");
}

TEST(LifecycleTest, WatchersSeeChangesAndDoNotHoldUpADrain) {
  auto running = std::make_unique<RunningServer>(nullptr, /*serve=*/false);
  HealthCheckRequest request;
  request.set_service("ready");
  grpc::ClientContext context;
  auto stub = Health::NewStub(running->channel());
  auto watch = stub->Watch(&context, request);
  HealthCheckResponse state;
  ASSERT_TRUE(watch->Read(&state));
  EXPECT_EQ(state.status(), HealthCheckResponse::NOT_SERVING);
  running->Serve();
  ASSERT_TRUE(watch->Read(&state));
  EXPECT_EQ(state.status(), HealthCheckResponse::SERVING);
  const auto start = std::chrono::steady_clock::now();
  std::thread drain([&running] { running.reset(); });
  ASSERT_TRUE(watch->Read(&state));
  EXPECT_EQ(state.status(), HealthCheckResponse::NOT_SERVING);
  EXPECT_FALSE(watch->Read(&state));
  EXPECT_EQ(watch->Finish().error_code(), grpc::StatusCode::UNAVAILABLE);
  drain.join();
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(4));
}

TEST(LifecycleTest, TheProbeSeesTheListener) {
  RunningServer running([](ServerConfig& config) { config.set_probe_interval_ms(50); });
  EXPECT_TRUE(ProbeListener("127.0.0.1", running.server().port(), false, absl::Seconds(5)).ok());
  EXPECT_TRUE(ProbeListener("0.0.0.0", running.server().port(), false, absl::Seconds(5)).ok());
  // A port that nobody listens on, and one whose listener accepts nothing.
  EXPECT_FALSE(ProbeListener("127.0.0.1", 1, false, absl::Seconds(1)).ok());
  EXPECT_TRUE(running.server().live());
}

TEST(LifecycleTest, TwoServersCannotShareAPort) {
  RunningServer running;
  ServerConfig config;
  config.set_listen("127.0.0.1:" + std::to_string(running.server().port()));
  EXPECT_FALSE(Server::Start(config, {}).ok());
}

TEST(LifecycleTest, ADrainAnswersTheCallsInFlight) {
  auto running = std::make_unique<RunningServer>();
  running->encoder().Hold();
  v1::SearchResponse response;
  grpc::Status status;
  auto stub = v1::ImageSearch::NewStub(running->channel());
  std::thread caller([&] { status = stub->Search(Context().get(), TextQuery("slow"), &response); });
  ASSERT_TRUE(running->encoder().AwaitEmbedRunning(absl::Seconds(10)));
  encoder::FakeEncoder& encoder = running->encoder();
  std::thread release([&encoder] {
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    encoder.Release();
  });
  EXPECT_TRUE(running->server().Drain().ok());
  release.join();
  caller.join();
  EXPECT_EQ(Outcome(status), "OK");
}

TEST(AdmissionTest, TooManyEncodesAreRefusedWithAdviceAndIndexCallsGoOn) {
  RunningServer running([](ServerConfig& config) { config.set_max_encode_calls(1); });
  running.Put("a", "1");
  running.encoder().Hold();
  grpc::Status held;
  std::thread caller([&] {
    v1::SearchResponse response;
    held = running.images().Search(Context().get(), TextQuery("held"), &response);
  });
  ASSERT_TRUE(running.encoder().AwaitEmbedRunning(absl::Seconds(10)));
  v1::SearchResponse response;
  auto context = Context();
  const grpc::Status refused = running.images().Search(context.get(), TextQuery("more"), &response);
  EXPECT_EQ(Outcome(refused), "RESOURCE_EXHAUSTED OVERLOADED");
  EXPECT_TRUE(DetailOf<google::rpc::RetryInfo>(refused).has_value());
  EXPECT_EQ(context->GetServerTrailingMetadata().count("grpc-retry-pushback-ms"), 1u);

  v1::SearchRequest by_id;
  by_id.mutable_query()->add_terms()->set_id("a");
  EXPECT_EQ(Outcome(running.images().Search(Context().get(), by_id, &response)), "OK");
  running.encoder().Release();
  caller.join();
  EXPECT_EQ(Outcome(held), "OK");
  // The count falls just after the reply has left.
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(5);
  while (running.server().runner().in_flight() > 0 && std::chrono::steady_clock::now() < end) {
    std::this_thread::yield();
  }
  EXPECT_EQ(running.server().runner().in_flight(), 0);
}

TEST(AdmissionTest, BytesInFlightAreBounded) {
  RunningServer running([](ServerConfig& config) { config.set_max_inflight_mb(8); });
  running.encoder().Hold();
  v1::SearchRequest big;
  big.mutable_query()->add_terms()->set_image(std::string(6u << 20, 'x'));
  grpc::Status held;
  std::thread caller([&] {
    v1::SearchResponse response;
    held = running.images().Search(Context().get(), big, &response);
  });
  ASSERT_TRUE(running.encoder().AwaitEmbedRunning(absl::Seconds(10)));
  v1::SearchResponse response;
  EXPECT_EQ(Outcome(running.images().Search(Context().get(), big, &response)),
            "RESOURCE_EXHAUSTED OVERLOADED");
  running.encoder().Release();
  caller.join();
  EXPECT_EQ(Outcome(held), "OK");
}

TEST(AdmissionTest, CallsWithoutADeadlineGetOne) {
  RunningServer running([](ServerConfig& config) { config.set_default_deadline_ms(200); });
  v1::SearchRequest request = TextQuery("x");
  request.set_min_version(1u << 30);
  grpc::ClientContext no_deadline;
  v1::SearchResponse response;
  EXPECT_EQ(running.images().Search(&no_deadline, request, &response).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST(AdmissionTest, OversizeMessagesAndCompressionAreRefused) {
  RunningServer running([](ServerConfig& config) { config.set_max_message_bytes(1 << 20); });
  v1::SearchRequest request;
  request.mutable_query()->add_terms()->set_image(std::string(2 << 20, 'x'));
  v1::SearchResponse response;
  EXPECT_EQ(running.images().Search(Context().get(), request, &response).error_code(),
            grpc::StatusCode::RESOURCE_EXHAUSTED);
  auto context = Context();
  context->set_compression_algorithm(GRPC_COMPRESS_GZIP);
  request.mutable_query()->mutable_terms(0)->set_image(std::string(1 << 19, 'x'));
  EXPECT_EQ(running.images().Search(context.get(), request, &response).error_code(),
            grpc::StatusCode::UNIMPLEMENTED);
}

TEST(UpsertStreamTest, AcknowledgesEachMessageAndFindsItAtOnce) {
  RunningServer running;
  auto context = Context();
  auto stream = running.images().UpsertStream(context.get());
  constexpr int kImages = 300;
  std::thread writer([&] {
    for (int i = 0; i < kImages; ++i) {
      const std::string content = i % 10 == 7 ? "bad" : "content " + std::to_string(i);
      stream->Write(StreamItem(i + 1, "id" + std::to_string(i), content));
    }
    stream->WritesDone();
  });
  std::vector<int> seen(kImages, 0);
  v1::UpsertStreamResponse ack;
  while (stream->Read(&ack)) {
    const int i = static_cast<int>(ack.sequence()) - 1;
    ASSERT_GE(i, 0);
    ASSERT_LT(i, kImages);
    ++seen[i];
    EXPECT_EQ(ack.id(), "id" + std::to_string(i));
    EXPECT_EQ(Outcome(ack.status()), i % 10 == 7 ? "INVALID_ARGUMENT CORRUPT_IMAGE" : "OK");
    EXPECT_EQ(ack.version() > 0, i % 10 != 7);
  }
  writer.join();
  EXPECT_EQ(Outcome(stream->Finish()), "OK");
  EXPECT_THAT(seen, ::testing::Each(1));
  v1::CountResponse count;
  ASSERT_EQ(Outcome(running.images().Count(Context().get(), {}, &count)), "OK");
  EXPECT_EQ(count.count(), 270u);
}

TEST(UpsertStreamTest, MessagesAreAppliedInTheirOrder) {
  RunningServer running;
  auto context = Context();
  auto stream = running.images().UpsertStream(context.get());
  std::vector<float> last;
  for (int i = 0; i < 50; ++i) {
    v1::UpsertStreamRequest request = StreamItem(i, "same", "content " + std::to_string(i));
    if (i % 2 == 1) {
      last = {1, 2, 3, 4, 5, 6, 7, static_cast<float>(i)};
      request.mutable_image()->mutable_vector()->mutable_values()->Assign(last.begin(), last.end());
    }
    stream->Write(request);
  }
  stream->WritesDone();
  v1::UpsertStreamResponse ack;
  while (stream->Read(&ack)) EXPECT_EQ(Outcome(ack.status()), "OK");
  EXPECT_EQ(Outcome(stream->Finish()), "OK");
  v1::SearchRequest search;
  search.mutable_query()->add_terms()->mutable_vector()->mutable_values()->Assign(last.begin(),
                                                                                  last.end());
  v1::SearchResponse hits;
  ASSERT_EQ(Outcome(running.images().Search(Context().get(), search, &hits)), "OK");
  ASSERT_EQ(hits.hits_size(), 1);
  EXPECT_NEAR(hits.hits(0).score(), 1, 1e-6);
}

TEST(UpsertStreamTest, BadMessagesFailAloneButBytesThatAreNoMessageEndTheStream) {
  RunningServer running;
  auto context = Context();
  auto stream = running.images().UpsertStream(context.get());
  v1::UpsertStreamRequest request = StreamItem(1, "a", "x");
  request.set_collection("nowhere");
  stream->Write(request);
  v1::UpsertStreamResponse ack;
  ASSERT_TRUE(stream->Read(&ack));
  EXPECT_EQ(Outcome(ack.status()), "NOT_FOUND NO_SUCH_COLLECTION");
  stream->Write(StreamItem(2, "b", "y"));  // the collection of the message before
  ASSERT_TRUE(stream->Read(&ack));
  EXPECT_EQ(ack.sequence(), 2u);
  EXPECT_EQ(Outcome(ack.status()), "NOT_FOUND NO_SUCH_COLLECTION");
  request = StreamItem(3, "", "");
  request.set_collection("default");
  stream->Write(request);
  ASSERT_TRUE(stream->Read(&ack));
  EXPECT_EQ(Outcome(ack.status()), "INVALID_ARGUMENT EMPTY_IMAGE");
  stream->Write(StreamItem(4, "c", "z"));
  ASSERT_TRUE(stream->Read(&ack));
  EXPECT_EQ(Outcome(ack.status()), "OK");
  stream->WritesDone();
  EXPECT_FALSE(stream->Read(&ack));
  EXPECT_EQ(Outcome(stream->Finish()), "OK");
}

TEST(UpsertStreamTest, ACancelledStreamLeavesNothingBehind) {
  RunningServer running;
  for (int round = 0; round < 20; ++round) {
    auto context = Context();
    auto stream = running.images().UpsertStream(context.get());
    for (int i = 0; i < 20; ++i) {
      stream->Write(StreamItem(i, "id" + std::to_string(i), "c" + std::to_string(round * 100 + i)));
    }
    context->TryCancel();
    EXPECT_EQ(stream->Finish().error_code(), grpc::StatusCode::CANCELLED);
  }
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (running.server().streams().open() > 0 && std::chrono::steady_clock::now() < end) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(running.server().streams().open(), 0);
}

TEST(UpsertStreamTest, ADrainAcknowledgesWhatWasReadAndEndsTheStream) {
  auto running = std::make_unique<RunningServer>();
  auto stub = v1::ImageSearch::NewStub(running->channel());
  auto context = Context();
  auto stream = stub->UpsertStream(context.get());
  for (int i = 0; i < 10; ++i) {
    stream->Write(StreamItem(i, "id" + std::to_string(i), "c" + std::to_string(i)));
  }
  v1::UpsertStreamResponse ack;
  int acknowledged = 0;
  ASSERT_TRUE(stream->Read(&ack));
  ++acknowledged;
  std::thread drain([&] { EXPECT_TRUE(running->server().Drain().ok()); });
  while (stream->Read(&ack)) ++acknowledged;
  const grpc::Status status = stream->Finish();
  drain.join();
  EXPECT_EQ(Outcome(status), "UNAVAILABLE DRAINING");
  EXPECT_GE(acknowledged, 1);
}

TEST(UpsertStreamTest, TooManyStreamsAreRefused) {
  RunningServer running([](ServerConfig& config) { config.set_max_streams(1); });
  auto first_context = Context(), second_context = Context();
  auto first = running.images().UpsertStream(first_context.get());
  first->Write(StreamItem(1, "a", "x"));
  v1::UpsertStreamResponse ack;
  ASSERT_TRUE(first->Read(&ack));
  auto second = running.images().UpsertStream(second_context.get());
  EXPECT_FALSE(second->Read(&ack));
  EXPECT_EQ(Outcome(second->Finish()), "RESOURCE_EXHAUSTED OVERLOADED");
  first->WritesDone();
  EXPECT_EQ(Outcome(first->Finish()), "OK");
}

TEST(MetricsTest, CallsAndReasonsAreCounted) {
  RunningServer running;
  v1::SearchResponse response;
  running.images().Search(Context().get(), TextQuery("x"), &response);
  running.images().Search(Context().get(), TextQuery(""), &response);
  const std::string text = running.server().metrics().Text();
  using ::testing::HasSubstr;
  EXPECT_THAT(text,
              HasSubstr("imagesearch_errors_total{method=\"Search\",reason=\"EMPTY_TEXT\"} 1"));
  EXPECT_THAT(text, HasSubstr("imagesearch_call_seconds_count{method=\"Search\"} 2"));
  EXPECT_THAT(text, HasSubstr("imagesearch_collection_images{collection=\"default\"} 0"));
  EXPECT_THAT(text, HasSubstr("imagesearch_ready 1"));
}

}  // namespace
}  // namespace imagesearch::server
