// API keys, scopes, collection lists, rates and the audit log, as a gRPC client meets them.
#include "server/security/access.h"

#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <string>
#include <thread>

#include "base/api_key.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "server/security/token_bucket.h"
#include "tests/server/running_server.h"

namespace imagesearch::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class AccessTest : public ::testing::Test {
 protected:
  AccessTest() {
    folder_ = ::testing::TempDir() + "/access_" + std::to_string(getpid());
    std::filesystem::create_directories(folder_);
    reader_ = Make("reader", KeyScope::kRead);
    writer_ = Make("writer", KeyScope::kWrite);
    admin_ = Make("admin", KeyScope::kAdmin);
    art_ = Make("art", KeyScope::kAdmin, [](ApiKeyEntry& entry) { entry.collections = {"art"}; });
  }
  ~AccessTest() override { std::filesystem::remove_all(folder_); }

  std::string Make(const std::string& name, KeyScope scope,
                   const std::function<void(ApiKeyEntry&)>& change = nullptr) {
    auto made = MakeApiKey(name, scope);
    if (change) change(made->entry);
    entries_.push_back(made->entry);
    return made->secret;
  }

  std::string KeyFile() { return folder_ + "/keys.json"; }
  void WriteKeyFile() { std::ofstream(KeyFile()) << FormatApiKeyFile(entries_); }
  std::string AuditText() {
    std::ostringstream text;
    text << std::ifstream(folder_ + "/audit").rdbuf();
    return text.str();
  }

  void Start(const std::function<void(ServerConfig&)>& more = nullptr) {
    WriteKeyFile();
    server_ = std::make_unique<RunningServer>([&](ServerConfig& config) {
      config.set_api_keys(KeyFile());
      config.set_audit_log(folder_ + "/audit");
      if (more) more(config);
    });
  }

  static std::unique_ptr<grpc::ClientContext> With(const std::string& key) {
    auto context = Context();
    if (!key.empty()) context->AddMetadata("authorization", "Bearer " + key);
    return context;
  }

  std::string Count(const std::string& key, const std::string& collection = "") {
    v1::CountRequest request;
    request.set_collection(collection);
    v1::CountResponse response;
    return Outcome(server_->images().Count(With(key).get(), request, &response));
  }

  std::string Upsert(const std::string& key, const std::string& id,
                     const std::string& collection = "") {
    v1::UpsertRequest request;
    request.set_collection(collection);
    request.add_images()->set_id(id);
    request.mutable_images(0)->set_content("picture " + id);
    v1::UpsertResponse response;
    return Outcome(server_->images().Upsert(With(key).get(), request, &response));
  }

  std::string Create(const std::string& key, const std::string& name) {
    v1::CreateCollectionRequest request;
    request.mutable_collection()->set_name(name);
    v1::CreateCollectionResponse response;
    return Outcome(server_->admin().CreateCollection(With(key).get(), request, &response));
  }

  std::string folder_;
  std::vector<ApiKeyEntry> entries_;
  std::string reader_, writer_, admin_, art_;
  std::unique_ptr<RunningServer> server_;
};

TEST_F(AccessTest, WithoutAKeyOrWithAWrongOneNothingIsServed) {
  Start();
  EXPECT_EQ(Count(""), "UNAUTHENTICATED NO_KEY");
  EXPECT_EQ(Count("nonsense"), "UNAUTHENTICATED BAD_KEY");
  std::string wrong = reader_;
  wrong.back() = wrong.back() == 'A' ? 'B' : 'A';
  EXPECT_EQ(Count(wrong), "UNAUTHENTICATED BAD_KEY");
  auto context = Context();
  context->AddMetadata("authorization", reader_);  // without "Bearer"
  v1::CountResponse response;
  EXPECT_EQ(Outcome(server_->images().Count(context.get(), v1::CountRequest(), &response)),
            "UNAUTHENTICATED BAD_KEY");
  EXPECT_EQ(Count(reader_), "OK");
  v1::GetServerInfoResponse info;
  EXPECT_EQ(Outcome(server_->admin().GetServerInfo(With("").get(), {}, &info)),
            "UNAUTHENTICATED NO_KEY");
}

TEST_F(AccessTest, AKeyIsAskedForBeforeTheRequestIsRead) {
  Start();
  auto context = Context();
  EXPECT_EQ(
      Outcome(server_->CallRaw("/imagesearch.v1.ImageSearch/Count", "\xff\xff\xff", context.get())),
      "UNAUTHENTICATED NO_KEY");
}

TEST_F(AccessTest, ScopesIncludeTheLowerOnes) {
  Start();
  EXPECT_EQ(Upsert(reader_, "a"), "PERMISSION_DENIED SCOPE");
  EXPECT_EQ(Upsert(writer_, "a"), "OK");
  EXPECT_EQ(Count(writer_), "OK");
  EXPECT_EQ(Create(writer_, "art"), "PERMISSION_DENIED SCOPE");
  EXPECT_EQ(Create(admin_, "art"), "OK");
  EXPECT_EQ(Upsert(admin_, "a"), "OK");
}

TEST_F(AccessTest, EveryMethodOfTheTableIsGuarded) {
  Start();
  for (const Method& method : Methods()) {
    auto context = Context();
    const std::string path = "/" + std::string(method.service) + "/" + std::string(method.name);
    EXPECT_EQ(Outcome(server_->CallRaw(path, "", context.get())), "UNAUTHENTICATED NO_KEY") << path;
  }
}

// FindDuplicates has an adapter of its own and stands in no table: it once served without a key.
TEST_F(AccessTest, AStreamedAnswerIsGuardedToo) {
  Start();
  const auto report = [this](const std::string& key, const std::string& collection) {
    auto context = With(key);
    v1::FindDuplicatesRequest request;
    request.set_collection(collection);
    auto reader = server_->images().FindDuplicates(context.get(), request);
    v1::FindDuplicatesResponse event;
    while (reader->Read(&event)) {
    }
    return Outcome(reader->Finish());
  };
  EXPECT_EQ(report("", ""), "UNAUTHENTICATED NO_KEY");
  EXPECT_EQ(report("nonsense", ""), "UNAUTHENTICATED BAD_KEY");
  EXPECT_EQ(report(reader_, ""), "OK");
  EXPECT_EQ(report(art_, ""), "PERMISSION_DENIED COLLECTION_DENIED");
}

TEST_F(AccessTest, AKeyForSomeCollectionsReachesNoOther) {
  Start();
  EXPECT_EQ(Create(admin_, "other"), "OK");
  EXPECT_EQ(Create(art_, "more"), "PERMISSION_DENIED COLLECTION_DENIED");
  EXPECT_EQ(Create(art_, "art"), "OK");
  EXPECT_EQ(Upsert(art_, "a", "art"), "OK");
  EXPECT_EQ(Count(art_, "art"), "OK");
  // Whether it exists or not, and the default one by leaving the name out.
  for (const char* name : {"other", "none", "default", ""}) {
    EXPECT_EQ(Count(art_, name), "PERMISSION_DENIED COLLECTION_DENIED") << name;
  }
  v1::SearchBatchRequest batch;
  batch.add_requests()->set_collection("art");
  batch.add_requests()->set_collection("other");
  v1::SearchBatchResponse batch_response;
  EXPECT_EQ(Outcome(server_->images().SearchBatch(With(art_).get(), batch, &batch_response)),
            "PERMISSION_DENIED COLLECTION_DENIED");
  v1::ListCollectionsResponse listed;
  ASSERT_EQ(Outcome(server_->admin().ListCollections(With(art_).get(), {}, &listed)), "OK");
  ASSERT_EQ(listed.collections_size(), 1);
  EXPECT_EQ(listed.collections(0).name(), "art");
  v1::DeleteCollectionRequest remove;
  remove.set_collection("other");
  v1::DeleteCollectionResponse removed;
  EXPECT_EQ(Outcome(server_->admin().DeleteCollection(With(art_).get(), remove, &removed)),
            "PERMISSION_DENIED COLLECTION_DENIED");
}

TEST_F(AccessTest, AFileThatChangesIsInForceWithoutARestartAndABadOneIsNot) {
  Start();
  const std::string late = Make("late", KeyScope::kRead);
  EXPECT_EQ(Count(late), "UNAUTHENTICATED BAD_KEY");
  WriteKeyFile();
  EXPECT_TRUE(server_->server().guard().access->Reload().ok());
  EXPECT_EQ(Count(late), "OK");
  std::ofstream(KeyFile()) << "{\"keys\": [";
  EXPECT_FALSE(server_->server().guard().access->Reload().ok());
  EXPECT_THAT(server_->server().metrics().Text(), HasSubstr("imagesearch_api_keys_refused 1"));
  EXPECT_EQ(Count(late), "OK");
  std::filesystem::remove(KeyFile());
  EXPECT_FALSE(server_->server().guard().access->Reload().ok());
  EXPECT_EQ(Count(late), "OK");
  entries_.pop_back();  // revoked
  WriteKeyFile();
  EXPECT_TRUE(server_->server().guard().access->Reload().ok());
  EXPECT_EQ(Count(late), "UNAUTHENTICATED BAD_KEY");
  EXPECT_THAT(server_->server().metrics().Text(), HasSubstr("imagesearch_api_keys_refused 0"));
}

TEST_F(AccessTest, AnExpiredKeyIsRefused) {
  const std::string old = Make("old", KeyScope::kRead, [](ApiKeyEntry& entry) {
    entry.expires = absl::Now() - absl::Seconds(1);
  });
  Start();
  EXPECT_EQ(Count(old), "UNAUTHENTICATED KEY_EXPIRED");
}

TEST_F(AccessTest, RateAndConcurrencyOfAKey) {
  const std::string slow =
      Make("slow", KeyScope::kWrite, [](ApiKeyEntry& entry) { entry.per_second = 2; });
  const std::string single =
      Make("single", KeyScope::kRead, [](ApiKeyEntry& entry) { entry.concurrent = 1; });
  Start();
  EXPECT_EQ(Count(slow), "OK");
  EXPECT_EQ(Count(slow), "OK");
  EXPECT_EQ(Count(slow), "RESOURCE_EXHAUSTED KEY_RATE");
  EXPECT_EQ(Count(reader_), "OK");  // others don't feel it
  absl::SleepFor(absl::Milliseconds(700));
  EXPECT_EQ(Count(slow), "OK");
  for (int i = 0; i < 5; ++i) EXPECT_EQ(Count(single), "OK");  // one after the other
}

TEST_F(AccessTest, AStreamIsSlowedToTheRateAndEndsForARevokedKey) {
  const std::string slow =
      Make("slow", KeyScope::kWrite, [](ApiKeyEntry& entry) { entry.per_second = 10; });
  Start();
  auto context = std::make_unique<grpc::ClientContext>();
  context->AddMetadata("authorization", "Bearer " + slow);
  auto stream = server_->images().UpsertStream(context.get());
  const auto send = [&](int n) {
    v1::UpsertStreamRequest request;
    request.set_sequence(n);
    request.mutable_image()->set_id("s" + std::to_string(n));
    request.mutable_image()->set_content("picture");
    stream->Write(request);
    v1::UpsertStreamResponse response;
    EXPECT_TRUE(stream->Read(&response));
    return Outcome(response.status());
  };
  const absl::Time start = absl::Now();
  for (int i = 1; i <= 20; ++i) EXPECT_EQ(send(i), "OK");  // 10 at once, 10 at the rate
  EXPECT_GT(absl::Now() - start, absl::Milliseconds(800));
  entries_.pop_back();
  WriteKeyFile();
  ASSERT_TRUE(server_->server().guard().access->Reload().ok());
  EXPECT_EQ(send(21), "UNAUTHENTICATED BAD_KEY");
  stream->WritesDone();
  EXPECT_EQ(Outcome(stream->Finish()), "OK");
}

TEST_F(AccessTest, AStreamNeedsAKeyThatMayWriteThere) {
  Start();
  const auto outcome = [&](const std::string& key, const std::string& collection) {
    auto context = With(key);
    auto stream = server_->images().UpsertStream(context.get());
    v1::UpsertStreamRequest request;
    request.set_sequence(1);
    request.set_collection(collection);
    request.mutable_image()->set_id("x");
    request.mutable_image()->set_content("picture");
    stream->Write(request);
    stream->WritesDone();
    v1::UpsertStreamResponse response;
    if (stream->Read(&response)) {
      EXPECT_TRUE(stream->Finish().ok());
      return Outcome(response.status());
    }
    return Outcome(stream->Finish());
  };
  EXPECT_EQ(outcome("", ""), "UNAUTHENTICATED NO_KEY");
  EXPECT_EQ(outcome(reader_, ""), "PERMISSION_DENIED SCOPE");
  EXPECT_EQ(outcome(art_, "default"), "PERMISSION_DENIED COLLECTION_DENIED");
  EXPECT_EQ(outcome(writer_, ""), "OK");
}

TEST_F(AccessTest, TheAuditLogTellsWhoChangedWhatAndWhoWasDenied) {
  Start();
  EXPECT_EQ(Upsert(writer_, "cat"), "OK");
  EXPECT_EQ(Count(reader_), "OK");
  EXPECT_EQ(Upsert(reader_, "dog"), "PERMISSION_DENIED SCOPE");
  EXPECT_EQ(Count(""), "UNAUTHENTICATED NO_KEY");
  server_.reset();
  std::vector<nlohmann::json> lines;
  std::istringstream text(AuditText());
  for (std::string line; std::getline(text, line);) lines.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(lines.size(), 3u) << AuditText();
  EXPECT_EQ(lines[0]["method"], "Upsert");
  EXPECT_EQ(lines[0]["code"], "OK");
  EXPECT_EQ(lines[0]["key_name"], "writer");
  EXPECT_EQ(lines[0]["collections"], nlohmann::json({"default"}));
  EXPECT_EQ(lines[0]["ids"], nlohmann::json({"cat"}));
  EXPECT_EQ(lines[1]["reason"], "SCOPE");
  EXPECT_EQ(lines[2]["reason"], "NO_KEY");
  for (const std::string& secret : {reader_, writer_, admin_}) {
    EXPECT_THAT(AuditText(), Not(HasSubstr(secret.substr(17))));
  }
}

TEST_F(AccessTest, TheAuditLogGoesOnInANewFileWhenTheOldOneWasMovedAway) {
  Start();
  EXPECT_EQ(Upsert(writer_, "before"), "OK");
  std::filesystem::rename(folder_ + "/audit", folder_ + "/audit.1");
  EXPECT_EQ(Upsert(writer_, "after"), "OK");
  server_.reset();
  EXPECT_THAT(AuditText(), HasSubstr("after"));
  EXPECT_THAT(AuditText(), Not(HasSubstr("before")));
}

TEST(TokenBucketTest, ABatchAboveTheRatePassesAndItsSuccessorWaits) {
  TokenBucket bucket;
  const auto start = TokenBucket::Clock::now();
  const auto after = [&](int ms) { return start + std::chrono::milliseconds(ms); };
  EXPECT_EQ(bucket.Take(100, 10, after(0)), absl::ZeroDuration());
  EXPECT_EQ(bucket.Take(1, 10, after(0)), absl::Milliseconds(9100));
  EXPECT_GT(bucket.Take(1, 10, after(9000)), absl::ZeroDuration());
  EXPECT_EQ(bucket.Take(1, 10, after(9100)), absl::ZeroDuration());
  EXPECT_GT(bucket.Take(1, 10, after(9100)), absl::ZeroDuration());
}

TEST(TokenBucketTest, ARateBelowOneASecond) {
  TokenBucket bucket;
  const auto start = TokenBucket::Clock::now();
  const auto after = [&](int ms) { return start + std::chrono::milliseconds(ms); };
  EXPECT_EQ(bucket.Take(1, 0.5, after(0)), absl::ZeroDuration());
  EXPECT_GT(bucket.Take(1, 0.5, after(1900)), absl::ZeroDuration());
  EXPECT_EQ(bucket.Take(1, 0.5, after(2100)), absl::ZeroDuration());
}

TEST(DemandTest, CollectionsAndItemsOfARequest) {
  v1::CreateCollectionRequest create;
  create.mutable_collection()->set_name("art");
  EXPECT_THAT(DemandOf(create).collections, ElementsAre("art"));
  v1::UpsertRequest upsert;
  for (int i = 0; i < 3; ++i) upsert.add_images();
  EXPECT_THAT(DemandOf(upsert).collections, ElementsAre("default"));
  EXPECT_EQ(DemandOf(upsert).items, 3);
  EXPECT_FALSE(DemandOf(v1::GetServerInfoRequest()).whole_server);
  v1::SetAliasRequest alias;  // both: or a key could reach another collection through its own name
  alias.set_alias("art");
  alias.set_collection("secret");
  EXPECT_THAT(DemandOf(alias).collections, ElementsAre("secret", "art"));
  EXPECT_FALSE(DemandOf(upsert).whole_server);
}

}  // namespace
}  // namespace imagesearch::server
