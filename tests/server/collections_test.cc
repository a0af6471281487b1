// Aliases, quotas and settings of collections, and lists that go on while writes do, through gRPC.
#include <set>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/running_server.h"

namespace imagesearch::server {
namespace {

using ::testing::ElementsAre;

class CollectionsTest : public ::testing::Test {
 protected:
  std::string Create(const std::string& name, uint64_t max_images = 0) {
    v1::CreateCollectionRequest request;
    request.mutable_collection()->set_name(name);
    if (max_images > 0) request.mutable_collection()->mutable_quota()->set_max_images(max_images);
    v1::CreateCollectionResponse response;
    return Outcome(running_.admin().CreateCollection(Context().get(), request, &response));
  }

  std::string SetAlias(const std::string& alias, const std::string& collection) {
    v1::SetAliasRequest request;
    request.set_alias(alias);
    request.set_collection(collection);
    v1::SetAliasResponse response;
    return Outcome(running_.admin().SetAlias(Context().get(), request, &response));
  }

  v1::UpsertResponse Put(const std::string& collection, const std::vector<std::string>& ids) {
    v1::UpsertRequest request;
    request.set_collection(collection);
    for (const std::string& id : ids) {
      v1::Image* image = request.add_images();
      image->set_id(id);
      image->set_content("pixels of " + id);
    }
    v1::UpsertResponse response;
    const grpc::Status status = running_.images().Upsert(Context().get(), request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response;
  }

  v1::Collection Show(const std::string& name) {
    v1::GetCollectionRequest request;
    request.set_collection(name);
    v1::GetCollectionResponse response;
    EXPECT_EQ(Outcome(running_.admin().GetCollection(Context().get(), request, &response)), "OK");
    return response.collection();
  }

  RunningServer running_;
};

TEST_F(CollectionsTest, EveryCallTakesAnAlias) {
  ASSERT_EQ(Create("photos-1"), "OK");
  ASSERT_EQ(SetAlias("photos", "photos-1"), "OK");
  ASSERT_EQ(Outcome(Put("photos", {"a", "b"}).results(0).status()), "OK");
  EXPECT_THAT(Show("photos").aliases(), ElementsAre("photos"));
  EXPECT_EQ(Show("photos").name(), "photos-1");
  EXPECT_EQ(Show("photos-1").image_count(), 2u);

  v1::SearchRequest search;
  search.set_collection("photos");
  search.mutable_query()->add_terms()->set_id("a");
  v1::SearchResponse found;
  ASSERT_EQ(Outcome(running_.images().Search(Context().get(), search, &found)), "OK");
  EXPECT_EQ(found.hits_size(), 2);
  v1::GetRequest get;
  get.set_collection("photos");
  get.add_ids("a");
  v1::GetResponse got;
  EXPECT_EQ(Outcome(running_.images().Get(Context().get(), get, &got)), "OK");
  v1::CountRequest count;
  count.set_collection("photos");
  v1::CountResponse counted;
  ASSERT_EQ(Outcome(running_.images().Count(Context().get(), count, &counted)), "OK");
  EXPECT_EQ(counted.count(), 2u);
  v1::ListRequest list;
  list.set_collection("photos");
  v1::ListResponse listed;
  EXPECT_EQ(Outcome(running_.images().List(Context().get(), list, &listed)), "OK");
  v1::DeleteRequest remove;
  remove.set_collection("photos");
  remove.add_ids("a");
  v1::DeleteResponse removed;
  EXPECT_EQ(Outcome(running_.images().Delete(Context().get(), remove, &removed)), "OK");

  grpc::ClientContext context;
  auto stream = running_.images().UpsertStream(&context);
  v1::UpsertStreamRequest message;
  message.set_collection("photos");
  message.mutable_image()->set_id("c");
  message.mutable_image()->set_content("c");
  ASSERT_TRUE(stream->Write(message));
  stream->WritesDone();
  v1::UpsertStreamResponse ack;
  ASSERT_TRUE(stream->Read(&ack));
  EXPECT_EQ(Outcome(ack.status()), "OK");
  EXPECT_EQ(Outcome(stream->Finish()), "OK");
  EXPECT_EQ(Show("photos-1").image_count(), 2u);
}

TEST_F(CollectionsTest, AliasesAreListedSwitchedAndDeleted) {
  ASSERT_EQ(Create("one"), "OK");
  ASSERT_EQ(SetAlias("now", "one"), "OK");
  ASSERT_EQ(SetAlias("now", "default"), "OK");
  EXPECT_EQ(SetAlias("one", "default"), "ALREADY_EXISTS ALREADY_EXISTS");
  EXPECT_EQ(SetAlias("now", ""), "INVALID_ARGUMENT BAD_NAME");
  EXPECT_EQ(Create("now"), "ALREADY_EXISTS ALREADY_EXISTS");
  v1::ListAliasesResponse list;
  ASSERT_EQ(Outcome(running_.admin().ListAliases(Context().get(), {}, &list)), "OK");
  ASSERT_EQ(list.aliases_size(), 1);
  EXPECT_EQ(list.aliases(0).alias(), "now");
  EXPECT_EQ(list.aliases(0).collection(), "default");
  v1::DeleteCollectionRequest drop;
  drop.set_collection("default");
  v1::DeleteCollectionResponse dropped;
  EXPECT_EQ(Outcome(running_.admin().DeleteCollection(Context().get(), drop, &dropped)),
            "FAILED_PRECONDITION HAS_ALIAS");
  v1::DeleteAliasRequest remove;
  remove.set_alias("now");
  v1::DeleteAliasResponse removed;
  EXPECT_EQ(Outcome(running_.admin().DeleteAlias(Context().get(), remove, &removed)), "OK");
  EXPECT_EQ(Outcome(running_.admin().DeleteAlias(Context().get(), remove, &removed)),
            "NOT_FOUND NO_SUCH_ALIAS");
}

TEST_F(CollectionsTest, AnIndexTakesCodesOfALengthOrABudget) {
  v1::CreateCollectionRequest request;
  request.mutable_collection()->set_name("pq");
  request.mutable_collection()->set_dimension(12);
  request.mutable_collection()->mutable_index()->set_kind(v1::Index::IVF);
  request.mutable_collection()->mutable_index()->set_pq_bytes(5);
  v1::CreateCollectionResponse response;
  const auto create = [&] {
    return running_.admin().CreateCollection(Context().get(), request, &response);
  };
  const grpc::Status refused = create();
  EXPECT_EQ(Outcome(refused), "INVALID_ARGUMENT BAD_INDEX");
  EXPECT_THAT(refused.error_message(), ::testing::HasSubstr("1, 2, 3, 4, 6, 12"));
  request.mutable_collection()->mutable_index()->set_pq_bytes(6);
  EXPECT_EQ(Outcome(create()), "OK");
  EXPECT_EQ(Show("pq").index().pq_bytes(), 6);
  request.mutable_collection()->set_name("budget");
  request.mutable_collection()->clear_index();
  request.mutable_collection()->mutable_index()->set_memory_bytes(1 << 20);
  EXPECT_EQ(Outcome(create()), "OK");
  EXPECT_EQ(Show("budget").index().memory_bytes(), uint64_t{1} << 20);
}

TEST_F(CollectionsTest, TheQuotaRefusesPerImageAndCanBeRaised) {
  ASSERT_EQ(Create("small", 2), "OK");
  v1::UpsertResponse put = Put("small", {"a", "b", "c"});
  EXPECT_EQ(Outcome(put.results(1).status()), "OK");
  EXPECT_EQ(Outcome(put.results(2).status()), "RESOURCE_EXHAUSTED QUOTA");
  v1::UpdateCollectionRequest update;
  update.set_collection("small");
  update.mutable_quota()->set_max_images(3);
  v1::UpdateCollectionResponse updated;
  ASSERT_EQ(Outcome(running_.admin().UpdateCollection(Context().get(), update, &updated)), "OK");
  EXPECT_EQ(updated.collection().quota().max_images(), 3u);
  EXPECT_GT(updated.collection().quota().used_bytes(), 0u);
  EXPECT_EQ(Outcome(Put("small", {"c"}).results(0).status()), "OK");
  update.clear_quota();
  update.set_target_recall(7);
  EXPECT_EQ(Outcome(running_.admin().UpdateCollection(Context().get(), update, &updated)),
            "INVALID_ARGUMENT BAD_INDEX");
}

// What is there before the first page and stays until the last is listed exactly once.
TEST_F(CollectionsTest, AListIsCompleteWhileImagesComeAndGo) {
  ASSERT_EQ(Create("busy"), "OK");
  std::vector<std::string> stay, go;
  for (int i = 100; i < 140; ++i) {
    stay.push_back(absl::StrCat("stay-", i));
    go.push_back(absl::StrCat("go-", i));
  }
  Put("busy", stay);
  Put("busy", go);
  std::multiset<std::string> listed;
  v1::ListRequest request;
  request.set_collection("busy");
  request.set_page_size(7);
  for (int page = 0;; ++page) {
    v1::ListResponse response;
    ASSERT_EQ(Outcome(running_.images().List(Context().get(), request, &response)), "OK");
    for (const auto& image : response.images()) listed.insert(image.id());
    request.set_page_token(response.next_page_token());
    if (response.next_page_token().empty()) break;
    // Between two pages: one goes, one comes before and one behind the cursor, one is replaced.
    v1::DeleteRequest remove;
    remove.set_collection("busy");
    remove.add_ids(go[page % go.size()]);
    remove.add_ids(response.images().rbegin()->id().substr(0, 2) == "go"
                       ? response.images().rbegin()->id()
                       : go.back());
    v1::DeleteResponse removed;
    ASSERT_EQ(Outcome(running_.images().Delete(Context().get(), remove, &removed)), "OK");
    Put("busy", {absl::StrCat("a-", page), absl::StrCat("zz-", page), stay[page % stay.size()]});
  }
  for (const std::string& id : stay) EXPECT_EQ(listed.count(id), 1u) << id;
  for (const std::string& id : listed) EXPECT_EQ(listed.count(id), 1u) << id;
}

}  // namespace
}  // namespace imagesearch::server
