// The database over Milvus beyond what every engine promises: addresses, deadlines, several
// processes over one Milvus, the sweep. milvus-lite stands for Milvus where its kind does not
// matter.
#include <atomic>
#include <cmath>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/call_deadline.h"
#include "base/error.h"
#include "gmock/gmock.h"
#include "index/milvus/key_locks.h"
#include "tests/index/milvus_server.h"

namespace imagesearch::index {
namespace {

using ::testing::SizeIs;

TEST(MilvusAddressTest, OnlyHostAndPortBehindTheScheme) {
  EXPECT_EQ(*MilvusAddress("milvus://milvus.internal:19530"), "milvus.internal:19530");
  EXPECT_EQ(*MilvusAddress("milvus://[::1]:19530"), "[::1]:19530");
  for (const char* bad :
       {"", "milvus://", "milvus://host", "milvus://:19530", "http://host:1",
        "milvus://host:", "milvus://root:secret@host:19530", "milvus://host:19530/db"}) {
    const auto address = MilvusAddress(bad);
    EXPECT_EQ(ReasonOf(address.status()), "BAD_ADDRESS") << bad;
  }
}

TEST(MilvusOptionsTest, WhatCantWorkIsRefusedAtOnce) {
  MilvusOptions options;
  options.address = "127.0.0.1:1";
  options.prefix = "has-dash";
  EXPECT_EQ(ReasonOf(OpenMilvus(options).status()), "BAD_NAME");
  options.prefix = "fine";
  options.tls = true;
  options.ca_file = "/nowhere/ca.pem";
  EXPECT_EQ(ReasonOf(OpenMilvus(options).status()), "BAD_PEM_FILE");
}

TEST(MilvusOpenTest, WaitsForAMilvusThatIsAwayAsLongAsAllowed) {
  MilvusOptions options;
  options.address = "127.0.0.1:1";
  options.open_timeout = absl::Seconds(2);
  std::vector<std::string> told;
  options.on_progress = [&told](const std::string& what) { told.push_back(what); };
  const absl::Time start = absl::Now();
  const absl::Status status = OpenMilvus(options).status();
  EXPECT_EQ(ReasonOf(status), "MILVUS_UNAVAILABLE") << status;
  EXPECT_TRUE(RetryAfterOf(status).has_value());
  EXPECT_GT(absl::Now() - start, absl::Seconds(1));
  EXPECT_LT(absl::Now() - start, absl::Seconds(15));
  ASSERT_FALSE(told.empty());
  EXPECT_THAT(told[0], ::testing::HasSubstr("waiting for Milvus"));
}

TEST(KeyLocksTest, SameKeysWaitAndOthersPass) {
  KeyLocks locks;
  auto held = std::make_unique<absl::StatusOr<KeyLocks::Held>>(
      locks.Acquire({"a", "b"}, absl::InfiniteFuture()));
  ASSERT_TRUE(held->ok());
  EXPECT_TRUE(locks.Acquire({"c"}, absl::InfiniteFuture()).ok());
  const absl::Time start = absl::Now();
  EXPECT_EQ(locks.Acquire({"b", "c"}, start + absl::Milliseconds(50)).status().code(),
            absl::StatusCode::kDeadlineExceeded);
  EXPECT_GE(absl::Now() - start, absl::Milliseconds(49));
  std::thread waiter([&] { EXPECT_TRUE(locks.Acquire({"b", "c"}, absl::InfiniteFuture()).ok()); });
  absl::SleepFor(absl::Milliseconds(20));
  held.reset();
  waiter.join();
  EXPECT_TRUE(locks.Acquire({"a", "b", "c"}, absl::InfinitePast()).ok());
}

TEST(CallDeadlineTest, InnerOnesOnlyShorten) {
  EXPECT_EQ(CallDeadline::Current(), absl::InfiniteFuture());
  const absl::Time soon = absl::Now() + absl::Seconds(1);
  {
    const CallDeadline outer(soon);
    {
      const CallDeadline later(soon + absl::Seconds(1));
      EXPECT_EQ(CallDeadline::Current(), soon);
    }
    const CallDeadline sooner(soon - absl::Seconds(1));
    EXPECT_EQ(CallDeadline::Current(), soon - absl::Seconds(1));
  }
  EXPECT_EQ(CallDeadline::Current(), absl::InfiniteFuture());
}

CollectionOptions Vectors(const std::string& name) {
  CollectionOptions options;
  options.name = name;
  options.dimension = 2;
  options.index.kind = IndexKind::kFlat;
  options.model_id = "model";
  options.model_fingerprint = "print of the model";
  return options;
}

UpsertItem Item(const std::string& id) {
  UpsertItem item;
  item.id = id;
  item.vector = std::vector<float>{1, 2};
  return item;
}

class MilvusLiteTest : public ::testing::Test {
 protected:
  MilvusLiteTest() : server_({MilvusKind::kLite}) {}
  std::unique_ptr<Database> Open(absl::Duration sweep = absl::ZeroDuration()) {
    MilvusOptions options;
    options.prefix = "lite";
    options.sweep_interval = sweep;
    options.clock = [this] { return absl::FromUnixSeconds(1'700'000'000 + offset_s_.load()); };
    return server_.Open(options);
  }

  MilvusServer server_;
  std::atomic<int64_t> offset_s_{0};
};

TEST_F(MilvusLiteTest, ProcessesShareCollectionsAndSeeThemGo) {
  auto one = Open(), other = Open();
  ASSERT_TRUE(one != nullptr && other != nullptr);
  EXPECT_EQ(one->instance_id(), other->instance_id());
  EXPECT_THAT(one->instance_id(), SizeIs(32));
  ASSERT_TRUE(one->CreateCollection(Vectors("a-b_c")).ok());
  EXPECT_EQ(other->CreateCollection(Vectors("a-b_c")).status().code(),
            absl::StatusCode::kAlreadyExists);
  auto mine = *one->GetCollection("a-b_c");
  auto theirs = *other->GetCollection("a-b_c");
  EXPECT_EQ(theirs->options().model_fingerprint, "print of the model");
  EXPECT_EQ(theirs->options().index.kind, IndexKind::kFlat);
  const uint64_t version = mine->Upsert({Item("x")}, {})->version;
  ASSERT_TRUE(other->WaitForVersion(version, absl::Now() + absl::Seconds(5)).ok());
  EXPECT_EQ(theirs->Count("")->count, 1u);
  ASSERT_THAT(other->ListCollections(), SizeIs(1));
  // Deleted there and made anew: old handles don't write into the new one.
  ASSERT_TRUE(one->DeleteCollection("a-b_c").ok());
  ASSERT_TRUE(one->CreateCollection(Vectors("a-b_c")).ok());
  EXPECT_EQ(ReasonOf(mine->Count("").status()), "NO_SUCH_COLLECTION");
  absl::SleepFor(absl::Milliseconds(1100));
  EXPECT_EQ((*other->GetCollection("a-b_c"))->Count("")->count, 0u);
  EXPECT_EQ(ReasonOf(theirs->Count("").status()), "NO_SUCH_COLLECTION");
}

TEST_F(MilvusLiteTest, PatchesMergeAndMissingImagesAreTold) {
  auto database = Open();
  ASSERT_NE(database, nullptr);
  ASSERT_TRUE(database->CreateCollection(Vectors("c")).ok());
  auto collection = *database->GetCollection("c");
  UpsertItem item = Item("a");
  item.metadata.emplace();
  (*item.metadata->mutable_fields())["keep"].set_string_value("k");
  (*item.metadata->mutable_fields())["drop"].set_number_value(1);
  ASSERT_TRUE(collection->Upsert({item, Item("b")}, {}).ok());
  google::protobuf::Struct patch;
  (*patch.mutable_fields())["drop"].set_null_value({});
  (*patch.mutable_fields())["add"].set_string_value("n");
  auto updated = collection->UpdateMetadata(std::vector<std::string>{"a", "none", "a"}, patch, {});
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(updated->matched, 1u);
  EXPECT_EQ(updated->updated, 1u);
  ASSERT_THAT(updated->items, SizeIs(3));
  EXPECT_EQ(updated->items[1].code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(collection->Count("keep = \"k\" AND add = \"n\" AND NOT has(drop)")->count, 1u);
  EXPECT_EQ(collection->UpdateMetadata(std::vector<std::string>{"a"}, patch, {})->updated, 0u);
  updated = collection->UpdateMetadataByFilter("NOT has(add)", patch, {});
  ASSERT_TRUE(updated.ok()) << updated.status();
  EXPECT_EQ(updated->updated, 1u);
  EXPECT_EQ(collection->Count("add = \"n\"")->count, 2u);
  UpdateOptions refuse;
  refuse.check = [](const google::protobuf::Struct&) {
    return InvalidArgument("METADATA_TOO_LARGE", "no");
  };
  (*patch.mutable_fields())["add"].set_string_value("again");
  EXPECT_EQ(ReasonOf(collection->UpdateMetadataByFilter("", patch, refuse).status()),
            "METADATA_TOO_LARGE");
  EXPECT_EQ(collection->Count("add = \"n\"")->count, 2u);
  const auto records = *collection->Get(std::vector<std::string>{"a"}, true);
  EXPECT_NEAR(records[0]->vector[1], 2 / std::sqrt(5.0), 1e-6);
}

TEST_F(MilvusLiteTest, ExpiredImagesAreDeletedAnHourLater) {
  auto database = Open(absl::Milliseconds(100));
  ASSERT_NE(database, nullptr);
  ASSERT_TRUE(database->CreateCollection(Vectors("c")).ok());
  auto collection = *database->GetCollection("c");
  UpsertItem item = Item("a");
  item.expire_time = absl::FromUnixSeconds(1'700'000'000) + absl::Minutes(1);
  ASSERT_TRUE(collection->Upsert({item, Item("b")}, {}).ok());
  offset_s_ = 30 * 60;
  absl::SleepFor(absl::Seconds(1));
  EXPECT_EQ(collection->Count("")->count, 1u);
  offset_s_ = 0;
  EXPECT_EQ(collection->Count("")->count, 2u);  // hidden, not yet deleted
  offset_s_ = 2 * 3600;
  absl::SleepFor(absl::Seconds(2));
  offset_s_ = 0;
  EXPECT_EQ(collection->Count("")->count, 1u);
  EXPECT_FALSE((*collection->Get(std::vector<std::string>{"a"}, false))[0].has_value());
}

TEST_F(MilvusLiteTest, AHangingMilvusEndsCallsAtTheirDeadline) {
  auto database = Open();
  ASSERT_NE(database, nullptr);
  ASSERT_TRUE(database->CreateCollection(Vectors("c")).ok());
  auto collection = *database->GetCollection("c");
  server_.Freeze();
  const absl::Time start = absl::Now();
  absl::Status status;
  {
    const CallDeadline deadline(start + absl::Milliseconds(500));
    status = collection->Count("").status();
  }
  EXPECT_LT(absl::Now() - start, absl::Seconds(3));
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded) << status;
  server_.Thaw();
  EXPECT_TRUE(collection->Count("").ok());
}

}  // namespace
}  // namespace imagesearch::index
