// Errors on their way to the wire, and bytes on their way in.
#include "absl/status/status.h"

#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <future>
#include <thread>
#include <vector>

#include "absl/time/clock.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "google/rpc/error_details.pb.h"
#include "gtest/gtest.h"
#include "imagesearch/v1/imagesearch.pb.h"
#include "server/call_context.h"
#include "server/grpc/grpc_server.h"
#include "server/grpc/request_parser.h"
#include "server/grpc_status.h"
#include "server/logging.h"
#include "server/utf8.h"
#include "server/worker_pool.h"

namespace imagesearch::server {
namespace {

using ::testing::HasSubstr;

TEST(StatusTest, FieldsNestAndReasonsSurvive) {
  absl::Status status = InvalidArgument("EMPTY_TEXT", "the text is empty");
  status = AtField(AtField(status, "terms[2]"), "query");
  EXPECT_EQ(status.message(), "query.terms[2]: the text is empty");
  EXPECT_EQ(ReasonOf(status), "EMPTY_TEXT");
  const google::rpc::Status rpc = RpcStatus(status);
  google::rpc::BadRequest bad;
  ASSERT_TRUE(rpc.details(1).UnpackTo(&bad));
  EXPECT_EQ(bad.field_violations(0).field(), "query.terms[2]");
}

TEST(StatusTest, DetailsStayBelowTheHeaderLimit) {
  std::string long_message;
  for (int i = 0; i < 5000; ++i) long_message += "\xC3\xA9";
  const google::rpc::Status rpc =
      RpcStatus(AtField(Overloaded("OVERLOADED", long_message, absl::Milliseconds(1500)), "field"));
  EXPECT_LT(rpc.ByteSizeLong(), 4096u);
  EXPECT_TRUE(IsUtf8(rpc.message()));
  google::rpc::RetryInfo retry;
  ASSERT_TRUE(rpc.details(1).UnpackTo(&retry));
  EXPECT_EQ(retry.retry_delay().seconds(), 1);
  EXPECT_EQ(retry.retry_delay().nanos(), 500'000'000);
}

TEST(Utf8Test, TakesWhatUnicodeTakes) {
  EXPECT_TRUE(IsUtf8(""));
  EXPECT_TRUE(IsUtf8("a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80"));
  EXPECT_TRUE(IsUtf8("\xF4\x8F\xBF\xBF"));
  for (const char* bad : {"\x80", "\xC3", "\xC0\xAF", "\xE0\x80\xAF", "\xED\xA0\x80",
                          "\xF4\x90\x80\x80", "\xF8\x88\x80\x80\x80", "\xFF", "a\xE2\x82"}) {
    EXPECT_FALSE(IsUtf8(bad));
  }
}

std::string Explain(const std::string& bytes) {
  const absl::Status status = ExplainParseFailure(bytes, *v1::SearchRequest::descriptor());
  return ReasonOf(status) + ": " + std::string(status.message());
}

TEST(RequestParserTest, NamesTheFieldThatIsNotUtf8) {
  v1::SearchRequest request;
  request.mutable_query()->add_terms()->set_id("x");
  request.mutable_query()->add_terms()->set_text("ab");
  std::string bytes = request.SerializeAsString();
  bytes.replace(bytes.find("ab"), 2, "\xFF\xFE");
  EXPECT_THAT(Explain(bytes), HasSubstr("INVALID_UTF8: query.terms.text"));
}

TEST(RequestParserTest, BrokenBytesAreABadRequest) {
  for (const std::string& bytes : {std::string("\xFF\xFF\xFF"), std::string("\x12\x7F"),
                                   std::string("\x0A\x05"
                                               "ab"),
                                   std::string("\x0B\x0A"), std::string(1000, '\x12')}) {
    EXPECT_THAT(Explain(bytes), HasSubstr("BAD_REQUEST"));
  }
}

TEST(CallHeadersTest, KeepsWhatIsUsableAndMakesTheRest) {
  CallContext call;
  ASSERT_TRUE(ReadCallHeaders("order-66", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
                              "bulk", &call)
                  .ok());
  EXPECT_EQ(call.request_id, "order-66");
  EXPECT_EQ(call.traceparent.size(), 55u);
  EXPECT_EQ(call.priority, encoder::Priority::kBulk);

  CallContext other;
  // gRPC would abort the process for a trace context with such an end, when a reader sends it on.
  ASSERT_TRUE(ReadCallHeaders("has blank",
                              "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\xFF", "",
                              &other)
                  .ok());
  EXPECT_TRUE(other.traceparent.empty());
  ASSERT_TRUE(ReadCallHeaders("has blank", "00-xyz", "", &other).ok());
  EXPECT_EQ(other.request_id.size(), 16u);
  EXPECT_TRUE(other.traceparent.empty());
  EXPECT_FALSE(other.priority.has_value());
  EXPECT_EQ(ReasonOf(ReadCallHeaders("", "", "urgent", &other)), "BAD_PRIORITY");
}

TEST(HostPortTest, TakesHostsAndBracketedAddresses) {
  EXPECT_EQ(ParseHostPort("127.0.0.1:50051")->port, 50051);
  EXPECT_EQ(ParseHostPort("[::1]:0")->host, "[::1]");
  EXPECT_EQ(ParseHostPort(":80")->host, "");
  for (const char* bad :
       {"", "localhost", "localhost:", "localhost:x", "h:65536", "h:-1", "::1:80"}) {
    EXPECT_FALSE(ParseHostPort(bad).ok()) << bad;
  }
}

TEST(LoggingTest, LinesCannotBeForged) {
  const LogFields fields = {{"peer", "ipv4:1"}, {"id", "a b\"\nlevel=error"}};
  EXPECT_EQ(FormatLogLine("call", fields, false), "call peer=ipv4:1 id=\"a b\\\"\\nlevel=error\"");
  EXPECT_EQ(FormatLogLine("call", {{"cause", "it can't"}, {"id", "\\'"}}, false),
            "call cause=\"it can't\" id=\"\\\\'\"");
  EXPECT_EQ(FormatLogLine("call", {{"id", "a\"\n\xFF"}}, true),
            "\"event\":\"call\",\"id\":\"a\\\"\\n\xEF\xBF\xBD\"");
}

TEST(WorkerPoolTest, RefusesOnlyWhenThreadsAndQueueAreFull) {
  Mutex mutex;
  CondVar changed;
  bool open = false;
  int done = 0;
  {
    WorkerPool pool("test", 2, 1);
    const auto submit = [&] {
      WorkerPool::Task task = [&] {
        MutexLock lock(&mutex);
        while (!open) changed.Wait(&mutex);
        ++done;
      };
      return pool.TrySubmit(task);
    };
    EXPECT_TRUE(submit());
    EXPECT_TRUE(submit());
    // The two threads may not have taken theirs yet; either way one more may wait.
    EXPECT_TRUE(submit());
    EXPECT_FALSE(submit());
    {
      MutexLock lock(&mutex);
      open = true;
      changed.SignalAll();
    }
  }
  EXPECT_EQ(done, 3);
}

TEST(WorkerPoolTest, AThreadThatCantBeMadeRefusesTheTaskAndIsTriedAgain) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers need the address space";
#endif
  std::atomic<int> ran{0};
  WorkerPool pool("test", 2, 4);
  WorkerPool::Task task = [&ran] { ran.fetch_add(1); };
  // The C library keeps stacks of threads that ended for the next ones: these take them all.
  std::promise<void> done;
  const std::shared_future<void> until(done.get_future());
  std::vector<std::thread> holders;
  for (int i = 0; i < 16; ++i) holders.emplace_back([until] { until.wait(); });
  rlimit whole;
  ASSERT_EQ(getrlimit(RLIMIT_AS, &whole), 0);
  std::ifstream statm("/proc/self/statm");
  uint64_t pages = 0;
  ASSERT_TRUE(statm >> pages);
  // Room for what is allocated here, but not for the stack of a thread.
  const rlimit tight{pages * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) + (1 << 20),
                     whole.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_AS, &tight), 0);
  const bool taken = pool.TrySubmit(task);
  ASSERT_EQ(setrlimit(RLIMIT_AS, &whole), 0);
  done.set_value();
  for (std::thread& holder : holders) holder.join();
  ASSERT_FALSE(taken);
  EXPECT_EQ(pool.queued(), 0u);
  EXPECT_TRUE(pool.TrySubmit(task));
  while (ran == 0) absl::SleepFor(absl::Milliseconds(1));
}

// The count of free threads once drifted when a finishing thread took the task that a waiting one
// was woken for: a pool without a queue then refused although all its threads were idle.
TEST(WorkerPoolTest, ThreadsThatWereOvertakenStayAvailable) {
  WorkerPool pool("test", 2, 0);
  for (int i = 0; i < 3000; ++i) {
    std::atomic<int> running{0};
    for (int k = 0; k < 2; ++k) {
      WorkerPool::Task task = [&running] { running.fetch_sub(1); };
      running.fetch_add(1);
      while (!pool.TrySubmit(task)) std::this_thread::yield();
    }
    while (running.load() > 0) std::this_thread::yield();
  }
}

}  // namespace
}  // namespace imagesearch::server
