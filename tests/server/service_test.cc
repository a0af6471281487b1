// Every unary rpc through gRPC, good and bad input.
#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/running_server.h"

namespace imagesearch::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class ServiceTest : public ::testing::Test {
 protected:
  std::string Search(const v1::SearchRequest& request, v1::SearchResponse* response = nullptr) {
    v1::SearchResponse ignored;
    return Outcome(running_.images().Search(Context().get(), request,
                                            response == nullptr ? &ignored : response));
  }

  // The outcome of the only item, or of the rpc when that fails.
  std::string Upsert(const v1::Image& image, bool create_only = false,
                     const std::string& collection = "") {
    v1::UpsertRequest request;
    request.set_collection(collection);
    request.set_create_only(create_only);
    *request.add_images() = image;
    const grpc::Status status = running_.images().Upsert(Context().get(), request, &upserted_);
    return status.ok() ? Outcome(upserted_.results(0).status()) : Outcome(status);
  }

  std::string Create(const std::string& name, int dimension, const std::string& model = "") {
    v1::CreateCollectionRequest request;
    request.mutable_collection()->set_name(name);
    request.mutable_collection()->set_dimension(dimension);
    request.mutable_collection()->set_model_id(model);
    v1::CreateCollectionResponse response;
    return Outcome(running_.admin().CreateCollection(Context().get(), request, &response));
  }

  static v1::SearchRequest TextQuery(const std::string& text) {
    v1::SearchRequest request;
    request.mutable_query()->add_terms()->set_text(text);
    return request;
  }

  static v1::SearchRequest VectorQuery(const std::vector<float>& values) {
    v1::SearchRequest request;
    request.mutable_query()->add_terms()->mutable_vector()->mutable_values()->Assign(values.begin(),
                                                                                     values.end());
    return request;
  }

  static v1::Image Content(const std::string& id, const std::string& content) {
    v1::Image image;
    image.set_id(id);
    image.set_content(content);
    return image;
  }

  static v1::Image VectorImage(const std::string& id, const std::vector<float>& values) {
    v1::Image image;
    image.set_id(id);
    image.mutable_vector()->mutable_values()->Assign(values.begin(), values.end());
    return image;
  }

  RunningServer running_;
  v1::UpsertResponse upserted_;
};

TEST_F(ServiceTest, AStoredImageIsItsOwnBestHit) {
  for (const char* name : {"one", "two", "three"})
    running_.Put(name, std::string("pixels of ") + name);
  v1::SearchRequest request;
  request.mutable_query()->add_terms()->set_image("pixels of two");
  request.set_with_vector(true);
  v1::SearchResponse response;
  ASSERT_EQ(Search(request, &response), "OK");
  ASSERT_EQ(response.hits_size(), 3);
  EXPECT_EQ(response.hits(0).id(), "two");
  EXPECT_NEAR(response.hits(0).score(), 1, 1e-5);
  EXPECT_EQ(response.hits(0).vector().values_size(), 8);
  EXPECT_GE(response.version(), 1u);
  EXPECT_FALSE(response.truncated_text());
}

TEST_F(ServiceTest, TermsAddUpWithTheirWeights) {
  ASSERT_EQ(Create("axes", 2), "OK");
  ASSERT_EQ(Upsert(VectorImage("x", {5, 0}), false, "axes"), "OK");
  ASSERT_EQ(Upsert(VectorImage("y", {0, 0.1f}), false, "axes"), "OK");
  v1::SearchRequest request;
  request.set_collection("axes");
  request.mutable_query()->add_terms()->set_id("x");
  v1::Term* away = request.mutable_query()->add_terms();
  away->mutable_vector()->add_values(0);
  away->mutable_vector()->add_values(300);
  away->set_weight(-1);
  v1::SearchResponse response;
  ASSERT_EQ(Search(request, &response), "OK");
  ASSERT_EQ(response.hits_size(), 2);
  EXPECT_NEAR(response.hits(0).score(), std::sqrt(0.5), 1e-6);
  EXPECT_NEAR(response.hits(1).score(), -std::sqrt(0.5), 1e-6);
}

TEST_F(ServiceTest, TermsThatCancelOutAreZeroNorm) {
  running_.Put("a", "a");
  v1::SearchRequest request;
  request.mutable_query()->add_terms()->set_id("a");
  v1::Term* away = request.mutable_query()->add_terms();
  away->set_id("a");
  away->set_weight(-1);
  EXPECT_EQ(Search(request), "INVALID_ARGUMENT ZERO_NORM");
}

TEST_F(ServiceTest, BadQueriesAreNamed) {
  EXPECT_EQ(Search(v1::SearchRequest()), "INVALID_ARGUMENT EMPTY_QUERY");
  EXPECT_EQ(Search(TextQuery("")), "INVALID_ARGUMENT EMPTY_TEXT");
  EXPECT_EQ(Search(TextQuery(std::string(4097, 'x'))), "INVALID_ARGUMENT TEXT_TOO_LONG");
  EXPECT_EQ(Search(TextQuery(std::string("a\0b", 3))), "INVALID_ARGUMENT NUL_IN_TEXT");
  v1::SearchRequest request;
  request.mutable_query()->add_terms();
  EXPECT_EQ(Search(request), "INVALID_ARGUMENT BAD_TERM");
  request.mutable_query()->mutable_terms(0)->set_image("");
  EXPECT_EQ(Search(request), "INVALID_ARGUMENT EMPTY_IMAGE");
  request.mutable_query()->mutable_terms(0)->set_image("bad");
  EXPECT_EQ(Search(request), "INVALID_ARGUMENT CORRUPT_IMAGE");
  request.mutable_query()->mutable_terms(0)->set_id("nobody");
  EXPECT_EQ(Search(request), "NOT_FOUND NOT_FOUND");
  request.mutable_query()->mutable_terms(0)->set_id("");
  EXPECT_EQ(Search(request), "INVALID_ARGUMENT BAD_ID");
  for (int i = 0; i < 17; ++i) request.mutable_query()->add_terms()->set_text("x");
  EXPECT_EQ(Search(request), "INVALID_ARGUMENT TOO_MANY_TERMS");
  EXPECT_EQ(Search(VectorQuery({1, 2})), "INVALID_ARGUMENT DIM_MISMATCH");
  EXPECT_EQ(Search(VectorQuery({})), "INVALID_ARGUMENT DIM_MISMATCH");
  EXPECT_EQ(Search(VectorQuery(std::vector<float>(8, 0))), "INVALID_ARGUMENT ZERO_NORM");
  std::vector<float> values(8, 1);
  values[3] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_EQ(Search(VectorQuery(values)), "INVALID_ARGUMENT NOT_FINITE");
  values[3] = std::numeric_limits<float>::infinity();
  EXPECT_EQ(Search(VectorQuery(values)), "INVALID_ARGUMENT NOT_FINITE");
}

TEST_F(ServiceTest, BadNumbersOfASearchAreNamed) {
  const auto outcome = [this](const std::function<void(v1::SearchRequest&)>& change) {
    v1::SearchRequest request = TextQuery("x");
    change(request);
    return Search(request);
  };
  for (int limit : {0, -1, 1001, std::numeric_limits<int>::max()}) {
    EXPECT_EQ(outcome([&](auto& request) { request.set_limit(limit); }),
              "INVALID_ARGUMENT BAD_LIMIT");
  }
  EXPECT_EQ(outcome([](auto& request) { request.set_limit(1000); }), "OK");
  for (int offset : {-1, 10001}) {
    EXPECT_EQ(outcome([&](auto& request) { request.set_offset(offset); }),
              "INVALID_ARGUMENT BAD_OFFSET");
  }
  EXPECT_EQ(outcome([](auto& request) { request.set_min_score(NAN); }),
            "INVALID_ARGUMENT BAD_MIN_SCORE");
  EXPECT_EQ(outcome([](auto& request) { request.set_filter("a = "); }),
            "INVALID_ARGUMENT BAD_FILTER");
  EXPECT_EQ(outcome([](auto& request) { request.set_filter(std::string(8193, ' ')); }),
            "INVALID_ARGUMENT FILTER_TOO_LONG");
  EXPECT_EQ(outcome([](auto& request) { request.set_collection("nowhere"); }),
            "NOT_FOUND NO_SUCH_COLLECTION");
  for (float weight : {0.f, NAN, INFINITY, 101.f, -101.f}) {
    EXPECT_EQ(outcome([&](auto& request) {
                request.mutable_query()->mutable_terms(0)->set_weight(weight);
              }),
              "INVALID_ARGUMENT BAD_WEIGHT");
  }
}

TEST_F(ServiceTest, AnEmptyCollectionAnswersWithNoHits) {
  v1::SearchResponse response;
  EXPECT_EQ(Search(TextQuery("anything"), &response), "OK");
  EXPECT_EQ(response.hits_size(), 0);
}

TEST_F(ServiceTest, LongTextIsCutAndFlagged) {
  v1::SearchResponse response;
  EXPECT_EQ(Search(TextQuery(std::string(100, 'x')), &response), "OK");
  EXPECT_TRUE(response.truncated_text());
}

TEST_F(ServiceTest, OneBadQueryOfABatchFailsAlone) {
  running_.Put("a", "a");
  v1::SearchBatchRequest request;
  *request.add_requests() = TextQuery("x");
  *request.add_requests() = TextQuery("");
  request.add_requests()->set_collection("nowhere");
  request.mutable_requests(2)->mutable_query()->add_terms()->set_text("x");
  request.add_requests()->mutable_query()->add_terms()->set_id("a");
  v1::SearchBatchResponse response;
  ASSERT_EQ(Outcome(running_.images().SearchBatch(Context().get(), request, &response)), "OK");
  ASSERT_EQ(response.results_size(), 4);
  EXPECT_EQ(Outcome(response.results(0).status()), "OK");
  EXPECT_EQ(Outcome(response.results(1).status()), "INVALID_ARGUMENT EMPTY_TEXT");
  EXPECT_EQ(Outcome(response.results(2).status()), "NOT_FOUND NO_SUCH_COLLECTION");
  EXPECT_EQ(Outcome(response.results(3).status()), "OK");
  EXPECT_EQ(response.results(3).response().hits(0).id(), "a");

  EXPECT_EQ(Outcome(running_.images().SearchBatch(Context().get(), {}, &response)),
            "INVALID_ARGUMENT EMPTY_REQUEST");
  v1::SearchBatchRequest many;
  for (int i = 0; i < 101; ++i) *many.add_requests() = TextQuery("x");
  EXPECT_EQ(Outcome(running_.images().SearchBatch(Context().get(), many, &response)),
            "INVALID_ARGUMENT TOO_MANY");
}

TEST_F(ServiceTest, EncodeAnswersPerInput) {
  v1::EncodeRequest request;
  request.add_inputs()->set_text("a cat");
  request.add_inputs()->set_image("bad");
  request.add_inputs();
  request.add_inputs()->set_image("pixels");
  v1::EncodeResponse response;
  ASSERT_EQ(Outcome(running_.images().Encode(Context().get(), request, &response)), "OK");
  ASSERT_EQ(response.results_size(), 4);
  EXPECT_EQ(response.results(0).vector().values_size(), 8);
  EXPECT_EQ(Outcome(response.results(1).status()), "INVALID_ARGUMENT CORRUPT_IMAGE");
  EXPECT_THAT(response.results(1).status().message(), HasSubstr("inputs[1]"));
  EXPECT_EQ(Outcome(response.results(2).status()), "INVALID_ARGUMENT BAD_INPUT");
  const std::vector<float> expected = running_.encoder().VectorOf(encoder::Input::Image("pixels"));
  EXPECT_THAT(response.results(3).vector().values(), ::testing::ElementsAreArray(expected));
  EXPECT_EQ(response.model().id(), "fake@00000000");
  EXPECT_EQ(response.model().dimension(), 8);
  EXPECT_EQ(Outcome(running_.images().Encode(Context().get(), {}, &response)),
            "INVALID_ARGUMENT EMPTY_REQUEST");
}

TEST_F(ServiceTest, AModelThatAnswersNotANumberIsOurError) {
  EXPECT_EQ(Search(TextQuery("nan")), "INTERNAL INTERNAL");
}

TEST_F(ServiceTest, AnEmptyIdBecomesTheContentHash) {
  ASSERT_EQ(Upsert(Content("", "abc")), "OK");
  // SHA-256 of "abc", FIPS 180-2, appendix B.1.
  EXPECT_EQ(upserted_.results(0).id(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_TRUE(upserted_.results(0).created());
  ASSERT_EQ(Upsert(Content("", "abc")), "OK");
  EXPECT_FALSE(upserted_.results(0).created());
}

TEST_F(ServiceTest, VersionsGrowAndBadItemsFailAlone) {
  ASSERT_EQ(Upsert(Content("a", "1")), "OK");
  const uint64_t first = upserted_.version();
  EXPECT_GE(first, 1u);
  v1::UpsertRequest request;
  *request.add_images() = Content("b", "bad");
  *request.add_images() = Content("c", "2");
  *request.add_images() = Content("c", "3");
  *request.add_images() = Content(std::string(257, 'i'), "2");
  v1::UpsertResponse response;
  ASSERT_EQ(Outcome(running_.images().Upsert(Context().get(), request, &response)), "OK");
  EXPECT_GT(response.version(), first);
  EXPECT_EQ(Outcome(response.results(0).status()), "INVALID_ARGUMENT CORRUPT_IMAGE");
  EXPECT_EQ(response.results(0).id(), "b");
  EXPECT_EQ(Outcome(response.results(1).status()), "OK");
  EXPECT_EQ(Outcome(response.results(2).status()), "OK");
  EXPECT_EQ(Outcome(response.results(3).status()), "INVALID_ARGUMENT BAD_ID");
  // The last of the two won.
  v1::SearchRequest search;
  search.mutable_query()->add_terms()->set_image("3");
  v1::SearchResponse hits;
  ASSERT_EQ(Search(search, &hits), "OK");
  EXPECT_EQ(hits.hits(0).id(), "c");
  EXPECT_NEAR(hits.hits(0).score(), 1, 1e-5);
}

TEST_F(ServiceTest, BadImagesAreNamed) {
  EXPECT_EQ(Upsert(Content("a", "")), "INVALID_ARGUMENT EMPTY_IMAGE");
  EXPECT_EQ(Upsert(Content("a", "bad")), "INVALID_ARGUMENT CORRUPT_IMAGE");
  EXPECT_EQ(Upsert(v1::Image()), "INVALID_ARGUMENT BAD_ID");
  v1::Image image;
  image.set_id("nobody");
  EXPECT_EQ(Upsert(image), "NOT_FOUND NOT_FOUND");
  EXPECT_EQ(Upsert(VectorImage("", std::vector<float>(8, 1))), "INVALID_ARGUMENT BAD_ID");
  EXPECT_EQ(Upsert(VectorImage("v", {1, 2, 3})), "INVALID_ARGUMENT DIM_MISMATCH");
  EXPECT_EQ(Upsert(VectorImage("v", std::vector<float>(8, 0))), "INVALID_ARGUMENT ZERO_NORM");
  EXPECT_EQ(Upsert(VectorImage("v", std::vector<float>(8, NAN))), "INVALID_ARGUMENT NOT_FINITE");
  image = Content("a", "x");
  image.mutable_expire_time()->set_nanos(-1);
  EXPECT_EQ(Upsert(image), "INVALID_ARGUMENT BAD_TIME");
  image.mutable_expire_time()->set_nanos(0);
  image.mutable_expire_time()->set_seconds(std::numeric_limits<int64_t>::max());
  EXPECT_EQ(Upsert(image), "INVALID_ARGUMENT BAD_TIME");
  EXPECT_EQ(Upsert(Content("a", "x"), false, "nowhere"), "NOT_FOUND NO_SUCH_COLLECTION");
  v1::UpsertRequest request;
  EXPECT_EQ(Outcome(running_.images().Upsert(Context().get(), request, &upserted_)),
            "INVALID_ARGUMENT EMPTY_REQUEST");
  for (int i = 0; i < 257; ++i) *request.add_images() = Content("", "x");
  EXPECT_EQ(Outcome(running_.images().Upsert(Context().get(), request, &upserted_)),
            "INVALID_ARGUMENT TOO_MANY");
}

TEST_F(ServiceTest, BadMetadataIsNamed) {
  const auto outcome = [this](const std::function<void(google::protobuf::Struct&)>& change) {
    v1::Image image = Content("a", "x");
    change(*image.mutable_metadata());
    return Upsert(image);
  };
  EXPECT_EQ(outcome([](auto& metadata) {
              (*metadata.mutable_fields())["k"].set_string_value(std::string(16400, 'x'));
            }),
            "INVALID_ARGUMENT METADATA_TOO_LARGE");
  EXPECT_EQ(outcome([](auto& metadata) {
              for (int i = 0; i < 60; ++i) {
                (*metadata.mutable_fields())["k" + std::to_string(i)].set_bool_value(true);
              }
              auto& inner = *(*metadata.mutable_fields())["inner"].mutable_struct_value();
              for (int i = 0; i < 4; ++i) {
                (*inner.mutable_fields())["k" + std::to_string(i)].set_bool_value(true);
              }
            }),
            "INVALID_ARGUMENT METADATA_TOO_LARGE");
  const auto nested = [](int levels) {
    return [levels](auto& metadata) {
      google::protobuf::Struct* level = &metadata;
      for (int i = 1; i < levels; ++i) {
        level = (*level->mutable_fields())["k"].mutable_struct_value();
      }
      (*level->mutable_fields())["k"].set_bool_value(true);
    };
  };
  EXPECT_EQ(outcome(nested(16)), "OK");
  EXPECT_EQ(outcome(nested(17)), "INVALID_ARGUMENT METADATA_TOO_LARGE");
  EXPECT_EQ(outcome(nested(60)), "INVALID_ARGUMENT BAD_REQUEST");  // protobuf's own depth
  EXPECT_EQ(
      outcome([](auto& metadata) { (*metadata.mutable_fields())["k"].set_number_value(NAN); }),
      "INVALID_ARGUMENT BAD_METADATA");
  EXPECT_EQ(outcome([](auto& metadata) { (*metadata.mutable_fields())["k"]; }),
            "INVALID_ARGUMENT BAD_METADATA");
}

TEST_F(ServiceTest, CreateOnlyRefusesWhatExists) {
  EXPECT_EQ(Upsert(Content("a", "1"), true), "OK");
  EXPECT_EQ(Upsert(Content("a", "2"), true), "ALREADY_EXISTS ALREADY_EXISTS");
}

TEST_F(ServiceTest, MetadataAloneUpdatesAnExistingImage) {
  running_.Put("a", "1");
  v1::Image image;
  image.set_id("a");
  (*image.mutable_metadata()->mutable_fields())["album"].set_string_value("holiday");
  ASSERT_EQ(Upsert(image), "OK");
  v1::GetRequest request;
  request.add_ids("a");
  v1::GetResponse response;
  ASSERT_EQ(Outcome(running_.images().Get(Context().get(), request, &response)), "OK");
  EXPECT_EQ(response.images(0).metadata().fields().at("album").string_value(), "holiday");
  EXPECT_EQ(response.images(0).vector().values_size(), 8);
  EXPECT_EQ(response.images(0).content_hash().size(), 64u);
}

TEST_F(ServiceTest, GetTellsWhatIsMissing) {
  running_.Put("a", "1");
  v1::GetRequest request;
  request.add_ids("nobody");
  request.add_ids("a");
  request.set_without_vector(true);
  v1::GetResponse response;
  ASSERT_EQ(Outcome(running_.images().Get(Context().get(), request, &response)), "OK");
  ASSERT_EQ(response.images_size(), 1);
  EXPECT_FALSE(response.images(0).has_vector());
  ASSERT_EQ(response.results_size(), 2);
  EXPECT_EQ(Outcome(response.results(0)), "NOT_FOUND NOT_FOUND");
  EXPECT_EQ(Outcome(response.results(1)), "OK");
  request.mutable_ids()->RemoveLast();
  EXPECT_EQ(Outcome(running_.images().Get(Context().get(), request, &response)),
            "NOT_FOUND NOT_FOUND");
  EXPECT_EQ(Outcome(running_.images().Get(Context().get(), {}, &response)),
            "INVALID_ARGUMENT EMPTY_REQUEST");
}

TEST_F(ServiceTest, DeleteTakesIdsOrAFilter) {
  for (const char* id : {"a", "b", "c"}) running_.Put(id, id);
  v1::DeleteRequest request;
  v1::DeleteResponse response;
  EXPECT_EQ(Outcome(running_.images().Delete(Context().get(), request, &response)),
            "INVALID_ARGUMENT BAD_REQUEST");
  request.add_ids("a");
  request.add_ids("nobody");
  request.set_filter("id = \"b\"");
  EXPECT_EQ(Outcome(running_.images().Delete(Context().get(), request, &response)),
            "INVALID_ARGUMENT BAD_REQUEST");
  request.clear_filter();
  ASSERT_EQ(Outcome(running_.images().Delete(Context().get(), request, &response)), "OK");
  EXPECT_EQ(response.deleted(), 1u);
  EXPECT_GE(response.version(), 1u);
  v1::CountResponse count;
  ASSERT_EQ(Outcome(running_.images().Count(Context().get(), {}, &count)), "OK");
  EXPECT_EQ(count.count(), 2u);
}

TEST_F(ServiceTest, CountByIdsCountsEachOnce) {
  for (const char* id : {"a", "b"}) running_.Put(id, id);
  v1::CountRequest request;
  for (const char* id : {"a", "a", "nobody"}) request.add_ids(id);
  v1::CountResponse response;
  ASSERT_EQ(Outcome(running_.images().Count(Context().get(), request, &response)), "OK");
  EXPECT_EQ(response.count(), 1u);
}

TEST_F(ServiceTest, ListPagesThroughAll) {
  for (const char* id : {"c", "a", "e", "b", "d"}) running_.Put(id, id);
  for (const bool by_ids : {false, true}) {
    v1::ListRequest request;
    request.set_page_size(2);
    if (by_ids) {
      for (const char* id : {"e", "d", "c", "b", "a", "a", "nobody"}) request.add_ids(id);
    }
    std::vector<std::string> seen;
    do {
      v1::ListResponse response;
      ASSERT_EQ(Outcome(running_.images().List(Context().get(), request, &response)), "OK");
      EXPECT_LE(response.images_size(), 2);
      for (const auto& image : response.images()) seen.push_back(image.id());
      request.set_page_token(response.next_page_token());
    } while (!request.page_token().empty() && seen.size() < 20);
    EXPECT_THAT(seen, ElementsAre("a", "b", "c", "d", "e"));
  }
  v1::ListRequest request;
  v1::ListResponse response;
  request.set_page_size(-1);
  EXPECT_EQ(Outcome(running_.images().List(Context().get(), request, &response)),
            "INVALID_ARGUMENT BAD_PAGE_SIZE");
  request.set_page_size(1001);
  EXPECT_EQ(Outcome(running_.images().List(Context().get(), request, &response)),
            "INVALID_ARGUMENT BAD_PAGE_SIZE");
  request.set_page_size(1);
  request.set_page_token("no token");
  EXPECT_EQ(Outcome(running_.images().List(Context().get(), request, &response)),
            "INVALID_ARGUMENT BAD_PAGE_TOKEN");
}

TEST_F(ServiceTest, CollectionsComeAndGo) {
  EXPECT_EQ(Create("vectors", 3), "OK");
  EXPECT_EQ(Create("vectors", 3), "ALREADY_EXISTS ALREADY_EXISTS");
  EXPECT_EQ(Create("", 3), "INVALID_ARGUMENT BAD_NAME");
  EXPECT_EQ(Create("No", 3), "INVALID_ARGUMENT BAD_NAME");
  EXPECT_EQ(Create("big", 4097), "INVALID_ARGUMENT BAD_DIMENSION");
  EXPECT_EQ(Create("negative", -1), "INVALID_ARGUMENT BAD_DIMENSION");
  EXPECT_EQ(Create("other", 0, "unknown@1"), "FAILED_PRECONDITION MODEL_MISMATCH");
  EXPECT_EQ(Create("wrong", 9, "fake@00000000"), "INVALID_ARGUMENT DIM_MISMATCH");
  EXPECT_EQ(Create("right", 8, "fake@00000000"), "OK");
  v1::ListCollectionsResponse list;
  ASSERT_EQ(Outcome(running_.admin().ListCollections(Context().get(), {}, &list)), "OK");
  std::vector<std::string> names;
  for (const auto& collection : list.collections()) names.push_back(collection.name());
  EXPECT_THAT(names, ElementsAre("default", "right", "vectors"));
  EXPECT_EQ(list.collections(0).model_id(), "fake@00000000");
  EXPECT_TRUE(list.collections(2).model_id().empty());

  v1::DeleteCollectionRequest remove;
  v1::DeleteCollectionResponse removed;
  EXPECT_EQ(Outcome(running_.admin().DeleteCollection(Context().get(), remove, &removed)),
            "INVALID_ARGUMENT BAD_NAME");
  remove.set_collection("vectors");
  EXPECT_EQ(Outcome(running_.admin().DeleteCollection(Context().get(), remove, &removed)), "OK");
  EXPECT_EQ(Outcome(running_.admin().DeleteCollection(Context().get(), remove, &removed)),
            "NOT_FOUND NO_SUCH_COLLECTION");
  v1::CreateCollectionRequest create;
  v1::CreateCollectionResponse created;
  create.mutable_collection()->set_name("kind");
  create.mutable_collection()->mutable_index()->set_kind(static_cast<v1::Index::Kind>(17));
  EXPECT_EQ(Outcome(running_.admin().CreateCollection(Context().get(), create, &created)),
            "INVALID_ARGUMENT BAD_INDEX");
}

TEST_F(ServiceTest, ACollectionOfReadyVectorsTakesNoTextsAndImages) {
  ASSERT_EQ(Create("vectors", 2), "OK");
  EXPECT_EQ(Upsert(Content("a", "x"), false, "vectors"), "FAILED_PRECONDITION NO_MODEL");
  EXPECT_EQ(Upsert(VectorImage("a", {1, 2}), false, "vectors"), "OK");
  v1::SearchRequest request = TextQuery("x");
  request.set_collection("vectors");
  EXPECT_EQ(Search(request), "FAILED_PRECONDITION NO_MODEL");
}

TEST_F(ServiceTest, AnotherModelMayNotEncodeIntoACollection) {
  running_.Put("a", "1");
  running_.Restart("other@11111111");
  EXPECT_EQ(Search(TextQuery("x")), "FAILED_PRECONDITION MODEL_MISMATCH");
  EXPECT_EQ(Upsert(Content("b", "2")), "FAILED_PRECONDITION MODEL_MISMATCH");
  v1::SearchRequest request;
  request.mutable_query()->add_terms()->set_id("a");
  EXPECT_EQ(Search(request), "OK");
}

TEST_F(ServiceTest, MinVersionWaitsNoLongerThanTheDeadline) {
  running_.Put("a", "1");
  v1::SearchRequest request = TextQuery("x");
  request.set_min_version(1);
  EXPECT_EQ(Search(request), "OK");
  request.set_min_version(1u << 30);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(300));
  v1::SearchResponse response;
  EXPECT_EQ(running_.images().Search(&context, request, &response).error_code(),
            grpc::StatusCode::DEADLINE_EXCEEDED);
}

TEST_F(ServiceTest, MalformedBytesAreTheCallersErrorInEveryMethod) {
  for (const Method& method : Methods()) {
    const std::string path = "/" + std::string(method.service) + "/" + std::string(method.name);
    const grpc::Status status = running_.CallRaw(path, "\xFF\xFF\xFF garbage", Context().get());
    EXPECT_EQ(Outcome(status), "INVALID_ARGUMENT BAD_REQUEST") << path;
  }
}

TEST_F(ServiceTest, InvalidUtf8IsTheCallersError) {
  std::string bytes = TextQuery("abcd").SerializeAsString();
  bytes.replace(bytes.find("abcd"), 4, "\xC0\xAF\xFF\xFE");
  const grpc::Status status =
      running_.CallRaw("/imagesearch.v1.ImageSearch/Search", bytes, Context().get());
  EXPECT_EQ(Outcome(status), "INVALID_ARGUMENT INVALID_UTF8");
}

TEST_F(ServiceTest, ErrorsCarryTheRequestIdAndTheField) {
  auto context = Context();
  context->AddMetadata("x-request-id", "my-id");
  v1::SearchResponse response;
  const grpc::Status status = running_.images().Search(context.get(), TextQuery(""), &response);
  EXPECT_EQ(DetailOf<google::rpc::ErrorInfo>(status)->domain(), "imagesearch");
  EXPECT_EQ(DetailOf<google::rpc::BadRequest>(status)->field_violations(0).field(),
            "query.terms[0]");
  const auto& trailers = context->GetServerTrailingMetadata();
  ASSERT_NE(trailers.find("x-request-id"), trailers.end());
  EXPECT_EQ(trailers.find("x-request-id")->second, "my-id");
}

TEST_F(ServiceTest, AnUnknownPriorityIsRefused) {
  auto context = Context();
  context->AddMetadata("imagesearch-priority", "urgent");
  v1::SearchResponse response;
  EXPECT_EQ(Outcome(running_.images().Search(context.get(), TextQuery("x"), &response)),
            "INVALID_ARGUMENT BAD_PRIORITY");
}

TEST_F(ServiceTest, ServerInfoTellsModelAndLimits) {
  v1::GetServerInfoResponse info;
  ASSERT_EQ(Outcome(running_.admin().GetServerInfo(Context().get(), {}, &info)), "OK");
  EXPECT_EQ(info.server_version(), "1.2.3");
  EXPECT_EQ(info.model().dimension(), 8);
  EXPECT_TRUE(info.ready());
  EXPECT_EQ(info.limits().max_id_bytes(), 256u);
  EXPECT_FALSE(info.instance_id().empty());
  EXPECT_EQ(info.role(), "writer");
  EXPECT_EQ(info.writer(), "");
}

TEST(ReplyBudgetTest, WhatWouldExceedItIsRefusedByName) {
  RunningServer running([](ServerConfig& config) { config.set_max_reply_bytes(65536); });
  v1::UpsertRequest request;
  for (int i = 0; i < 20; ++i) {
    v1::Image* image = request.add_images();
    image->set_id("id" + std::to_string(i));
    image->set_content("content" + std::to_string(i));
    (*image->mutable_metadata()->mutable_fields())["k"].set_string_value(std::string(5000, 'x'));
  }
  v1::UpsertResponse upserted;
  ASSERT_EQ(Outcome(running.images().Upsert(Context().get(), request, &upserted)), "OK");

  v1::SearchRequest search;
  search.mutable_query()->add_terms()->set_id("id0");
  search.set_with_metadata(true);
  search.set_limit(20);
  v1::SearchResponse hits;
  EXPECT_EQ(Outcome(running.images().Search(Context().get(), search, &hits)),
            "INVALID_ARGUMENT REPLY_TOO_LARGE");
  v1::SearchBatchRequest batch;
  search.set_limit(4);
  for (int i = 0; i < 4; ++i) *batch.add_requests() = search;
  v1::SearchBatchResponse answers;
  ASSERT_EQ(Outcome(running.images().SearchBatch(Context().get(), batch, &answers)), "OK");
  EXPECT_EQ(Outcome(answers.results(0).status()), "OK");
  EXPECT_EQ(Outcome(answers.results(3).status()), "INVALID_ARGUMENT REPLY_TOO_LARGE");

  v1::ListRequest list;
  v1::ListResponse page;
  ASSERT_EQ(Outcome(running.images().List(Context().get(), list, &page)), "OK");
  EXPECT_GT(page.images_size(), 5);
  EXPECT_LT(page.images_size(), 20);
  EXPECT_FALSE(page.next_page_token().empty());
}

}  // namespace
}  // namespace imagesearch::server
