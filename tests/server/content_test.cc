// What changes and tells of the content of stored images, through gRPC.
#include <cmath>
#include <map>

#include "gmock/gmock.h"
#include "google/protobuf/util/json_util.h"
#include "gtest/gtest.h"
#include "tests/server/running_server.h"

namespace imagesearch::server {
namespace {

google::protobuf::Struct FromJson(const std::string& json) {
  google::protobuf::Struct result;
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(json, &result).ok()) << json;
  return result;
}

class UpdateMetadataTest : public ::testing::Test {
 protected:
  std::string Update(const v1::UpdateMetadataRequest& request) {
    return Outcome(running_.images().UpdateMetadata(Context().get(), request, &response_));
  }
  v1::StoredImage Get(const std::string& id) {
    v1::GetRequest request;
    request.add_ids(id);
    v1::GetResponse response;
    EXPECT_EQ(Outcome(running_.images().Get(Context().get(), request, &response)), "OK");
    return response.images_size() == 1 ? response.images(0) : v1::StoredImage();
  }

  RunningServer running_;
  v1::UpdateMetadataResponse response_;
};

TEST_F(UpdateMetadataTest, ByIdsAndByFilter) {
  running_.Put("a", "pixels of a");
  running_.Put("b", "pixels of b");
  v1::UpdateMetadataRequest request;
  request.add_ids("a");
  request.add_ids("nobody");
  *request.mutable_merge_patch() = FromJson(R"({"year": 2024, "gps": {"lat": 1, "lon": 2}})");
  ASSERT_EQ(Update(request), "OK");
  EXPECT_EQ(Outcome(response_.results(0)), "OK");
  EXPECT_EQ(Outcome(response_.results(1)), "NOT_FOUND NOT_FOUND");
  EXPECT_EQ(response_.updated(), 1u);
  const v1::StoredImage before = Get("a");
  request.clear_ids();
  request.set_filter("year = 2024");
  *request.mutable_merge_patch() = FromJson(R"({"year": null, "gps": {"lat": 5}})");
  ASSERT_EQ(Update(request), "OK");
  EXPECT_EQ(response_.results_size(), 0);
  EXPECT_EQ(response_.matched(), 1u);
  const v1::StoredImage after = Get("a");
  EXPECT_EQ(after.metadata().fields().count("year"), 0u);
  const auto& gps = after.metadata().fields().at("gps").struct_value().fields();
  EXPECT_EQ(gps.at("lat").number_value(), 5);
  EXPECT_EQ(gps.at("lon").number_value(), 2);
  EXPECT_EQ(after.vector().SerializeAsString(), before.vector().SerializeAsString());
  EXPECT_EQ(after.content_hash(), before.content_hash());
  EXPECT_EQ(after.version(), response_.version());
}

TEST_F(UpdateMetadataTest, BadRequestsAreNamed) {
  running_.Put("a", "pixels");
  v1::UpdateMetadataRequest request;
  *request.mutable_merge_patch() = FromJson(R"({"k": 1})");
  EXPECT_EQ(Update(request), "INVALID_ARGUMENT BAD_REQUEST");
  request.add_ids("a");
  request.set_filter("k = 1");
  EXPECT_EQ(Update(request), "INVALID_ARGUMENT BAD_REQUEST");
  request.clear_ids();
  request.set_filter("k =");
  EXPECT_EQ(Update(request), "INVALID_ARGUMENT BAD_FILTER");
  request.clear_filter();
  request.add_ids("a");
  request.clear_merge_patch();
  EXPECT_EQ(Update(request), "INVALID_ARGUMENT BAD_REQUEST");
  (*request.mutable_merge_patch()->mutable_fields())["k"].set_string_value(
      std::string(20'000, 'x'));
  EXPECT_EQ(Update(request), "INVALID_ARGUMENT METADATA_TOO_LARGE");
  (*request.mutable_merge_patch()->mutable_fields())["k"].Clear();
  EXPECT_EQ(Update(request), "INVALID_ARGUMENT BAD_METADATA");
  EXPECT_EQ(Get("a").metadata().fields_size(), 0);
  request.set_collection("nowhere");
  EXPECT_EQ(Update(request), "NOT_FOUND NO_SUCH_COLLECTION");
}

class ContentTest : public ::testing::Test {
 protected:
  void Create(const std::string& name, bool keep_originals) {
    v1::CreateCollectionRequest request;
    request.mutable_collection()->set_name(name);
    request.mutable_collection()->set_keep_originals(keep_originals);
    v1::CreateCollectionResponse response;
    ASSERT_EQ(Outcome(running_.admin().CreateCollection(Context().get(), request, &response)),
              "OK");
    EXPECT_EQ(response.collection().keep_originals(), keep_originals);
  }
  v1::UpsertResponse Upsert(const std::string& collection,
                            const std::vector<std::pair<std::string, std::string>>& images,
                            v1::OnDuplicate on_duplicate = v1::ON_DUPLICATE_KEEP,
                            v1::DuplicateTier tier = v1::DUPLICATE_TIER_UNSPECIFIED) {
    v1::UpsertRequest request;
    request.set_collection(collection);
    request.set_on_duplicate(on_duplicate);
    request.set_duplicate_tier(tier);
    for (const auto& [id, content] : images) {
      v1::Image* image = request.add_images();
      image->set_id(id);
      image->set_content(content);
      image->set_source_uri("file:///pictures/" + id);
    }
    v1::UpsertResponse response;
    EXPECT_EQ(Outcome(running_.images().Upsert(Context().get(), request, &response)), "OK");
    return response;
  }

  RunningServer running_;
};

TEST_F(ContentTest, OriginalsComeBackWhereTheyAreKept) {
  Create("kept", true);
  Upsert("kept", {{"a", "pixels of a"}, {"b", "pixels of b"}});
  Upsert("", {{"a", "pixels of a"}});
  v1::GetRequest request;
  request.set_collection("kept");
  request.add_ids("b");
  request.add_ids("nobody");
  request.add_ids("a");
  v1::GetResponse response;
  ASSERT_EQ(Outcome(running_.images().Get(Context().get(), request, &response)), "OK");
  EXPECT_EQ(response.images(0).original(), "");
  EXPECT_EQ(response.images(0).source_uri(), "file:///pictures/b");
  request.set_with_original(true);
  ASSERT_EQ(Outcome(running_.images().Get(Context().get(), request, &response)), "OK");
  ASSERT_EQ(response.images_size(), 2);
  EXPECT_EQ(response.images(0).original(), "pixels of b");
  EXPECT_EQ(response.images(1).original(), "pixels of a");
  EXPECT_EQ(Outcome(response.results(1)), "NOT_FOUND NOT_FOUND");
  EXPECT_EQ(response.images(0).vector().values_size(), 8);
  request.set_collection("default");
  ASSERT_EQ(Outcome(running_.images().Get(Context().get(), request, &response)), "OK");
  EXPECT_EQ(response.images(0).original(), "");
  v1::GetCollectionRequest get;
  get.set_collection("kept");
  v1::GetCollectionResponse collection;
  ASSERT_EQ(Outcome(running_.admin().GetCollection(Context().get(), get, &collection)), "OK");
  EXPECT_EQ(collection.collection().original_bytes(), 22u);
}

TEST_F(ContentTest, OriginalsBeyondTheReplyAreRefusedByName) {
  Create("kept", true);
  const std::string large(3'000'000, 'x');
  Upsert("kept", {{"a", "a" + large}, {"b", "b" + large}});
  v1::GetRequest request;
  request.set_collection("kept");
  request.set_with_original(true);
  request.add_ids("a");
  v1::GetResponse response;
  EXPECT_EQ(Outcome(running_.images().Get(Context().get(), request, &response)), "OK");
  request.add_ids("b");
  EXPECT_EQ(Outcome(running_.images().Get(Context().get(), request, &response)),
            "INVALID_ARGUMENT REPLY_TOO_LARGE");
}

TEST_F(ContentTest, KeepingOriginalsCanBeTurnedOnAndOff) {
  Create("later", false);
  Upsert("later", {{"a", "pixels of a"}});
  const auto keep = [&](bool on) {
    v1::UpdateCollectionRequest request;
    request.set_collection("later");
    request.set_keep_originals(on);
    v1::UpdateCollectionResponse response;
    ASSERT_EQ(Outcome(running_.admin().UpdateCollection(Context().get(), request, &response)),
              "OK");
    EXPECT_EQ(response.collection().keep_originals(), on);
  };
  keep(true);
  Upsert("later", {{"b", "pixels of b"}});
  keep(false);
  Upsert("later", {{"c", "pixels of c"}});
  v1::GetRequest request;
  request.set_collection("later");
  request.set_with_original(true);
  for (const char* id : {"a", "b", "c"}) request.add_ids(id);
  v1::GetResponse response;
  ASSERT_EQ(Outcome(running_.images().Get(Context().get(), request, &response)), "OK");
  EXPECT_EQ(response.images(0).original(), "");
  EXPECT_EQ(response.images(1).original(), "pixels of b");
  EXPECT_EQ(response.images(2).original(), "");
}

TEST_F(ContentTest, OriginalsCountAgainstTheQuotaOfBytes) {
  Create("small", true);
  v1::UpdateCollectionRequest update;
  update.set_collection("small");
  update.mutable_quota()->set_max_bytes(5000);
  v1::UpdateCollectionResponse updated;
  ASSERT_EQ(Outcome(running_.admin().UpdateCollection(Context().get(), update, &updated)), "OK");
  EXPECT_EQ(Outcome(Upsert("small", {{"a", std::string(1000, 'a')}}).results(0).status()), "OK");
  EXPECT_EQ(Outcome(Upsert("small", {{"b", std::string(5000, 'b')}}).results(0).status()),
            "RESOURCE_EXHAUSTED QUOTA");
}

TEST_F(ContentTest, ALongSourceUriIsRefused) {
  v1::UpsertRequest request;
  v1::Image* image = request.add_images();
  image->set_content("pixels");
  image->set_source_uri(std::string(2049, 'u'));
  v1::UpsertResponse response;
  ASSERT_EQ(Outcome(running_.images().Upsert(Context().get(), request, &response)), "OK");
  EXPECT_EQ(Outcome(response.results(0).status()), "INVALID_ARGUMENT URI_TOO_LONG");
}

TEST_F(ContentTest, DuplicatesAreSkippedOrReportedAsAsked) {
  Upsert("", {{"cat", "cat#1"}});
  v1::UpsertResponse response =
      Upsert("", {{"cat 2", "cat#2"}, {"dog", "dog#1"}, {"dog 2", "dog#2"}, {"dog 3", "dog#1"}},
             v1::ON_DUPLICATE_SKIP);
  EXPECT_TRUE(response.results(0).skipped());
  EXPECT_FALSE(response.results(0).created());
  ASSERT_EQ(response.results(0).duplicates_size(), 1);
  EXPECT_EQ(response.results(0).duplicates(0).id(), "cat");
  EXPECT_EQ(response.results(0).duplicates(0).tier(), v1::SAME_PICTURE);
  EXPECT_NEAR(response.results(0).duplicates(0).score(), 1, 1e-5);
  EXPECT_FALSE(response.results(1).skipped());
  EXPECT_TRUE(response.results(2).skipped());
  EXPECT_EQ(response.results(3).duplicates(0).tier(), v1::SAME_BYTES);
  response = Upsert("", {{"cat 3", "cat#3"}}, v1::ON_DUPLICATE_SKIP, v1::SAME_BYTES);
  EXPECT_TRUE(response.results(0).created());
  response = Upsert("", {{"cat 4", "cat#4"}}, v1::ON_DUPLICATE_REPORT);
  EXPECT_TRUE(response.results(0).created());
  EXPECT_EQ(response.results(0).duplicates_size(), 2);
}

TEST_F(ContentTest, AStreamSkipsAndReportsDuplicatesMessageByMessage) {
  Upsert("", {{"cat", "cat#1"}});
  auto context = Context();
  auto stream = running_.images().UpsertStream(context.get());
  const auto send = [&](uint64_t sequence, const std::string& content,
                        v1::OnDuplicate on_duplicate) {
    v1::UpsertStreamRequest request;
    request.set_sequence(sequence);
    request.mutable_image()->set_id(content);
    request.mutable_image()->set_content(content);
    request.set_on_duplicate(on_duplicate);
    ASSERT_TRUE(stream->Write(request));
  };
  send(1, "cat#2", v1::ON_DUPLICATE_SKIP);
  send(2, "cat#3", v1::ON_DUPLICATE_REPORT);
  send(3, "cat#4", v1::ON_DUPLICATE_KEEP);
  send(4, "dog#1", v1::ON_DUPLICATE_SKIP);
  send(5, "dog#2", v1::ON_DUPLICATE_SKIP);
  send(6, "dog#3", static_cast<v1::OnDuplicate>(9));
  stream->WritesDone();
  std::map<uint64_t, v1::UpsertStreamResponse> acks;
  v1::UpsertStreamResponse ack;
  while (stream->Read(&ack)) acks[ack.sequence()] = ack;
  EXPECT_EQ(Outcome(stream->Finish()), "OK");
  ASSERT_EQ(acks.size(), 6u);
  EXPECT_TRUE(acks[1].skipped());
  EXPECT_EQ(acks[1].version(), 0u);
  EXPECT_FALSE(acks[2].skipped());
  EXPECT_EQ(acks[2].duplicates(0).id(), "cat");
  EXPECT_EQ(acks[3].duplicates_size(), 0);
  EXPECT_FALSE(acks[4].skipped());
  EXPECT_TRUE(acks[5].skipped());
  EXPECT_EQ(acks[5].duplicates(0).id(), "dog#1");
  EXPECT_EQ(Outcome(acks[6].status()), "INVALID_ARGUMENT BAD_REQUEST");
}

TEST_F(ContentTest, ResultsFoldDuplicatesUnderTheBestHit) {
  Upsert("", {{"cat 1", "cat#1"}, {"dog", "dog"}, {"cat 2", "cat#2"}, {"cat 3", "cat#1"}});
  v1::SearchRequest request;
  request.mutable_query()->add_terms()->set_image("cat#1");
  const auto search = [&](v1::DuplicateTier tier) {
    request.set_collapse_duplicates(tier);
    v1::SearchResponse response;
    EXPECT_EQ(Outcome(running_.images().Search(Context().get(), request, &response)), "OK");
    return response;
  };
  EXPECT_EQ(search(v1::DUPLICATE_TIER_UNSPECIFIED).hits_size(), 4);
  EXPECT_EQ(search(v1::SAME_BYTES).hits_size(), 3);
  const v1::SearchResponse folded = search(v1::SAME_PICTURE);
  ASSERT_EQ(folded.hits_size(), 2);
  EXPECT_EQ(folded.hits(0).id(), "cat 1");
  ASSERT_EQ(folded.hits(0).duplicates_size(), 2);
  EXPECT_EQ(folded.hits(0).duplicates(0).id(), "cat 2");
  EXPECT_EQ(folded.hits(0).duplicates(0).tier(), v1::SAME_PICTURE);
  EXPECT_EQ(folded.hits(0).duplicates(1).tier(), v1::SAME_BYTES);
  EXPECT_NEAR(folded.hits(0).duplicates(0).score(), 1, 1e-5);
  EXPECT_EQ(folded.hits(0).vector().values_size(), 0);
  request.set_collapse_duplicates(static_cast<v1::DuplicateTier>(7));
  v1::SearchResponse response;
  EXPECT_EQ(Outcome(running_.images().Search(Context().get(), request, &response)),
            "INVALID_ARGUMENT BAD_TIER");
}

TEST_F(ContentTest, FindDuplicatesStreamsGroupsAndASummary) {
  Upsert("", {{"cat 1", "cat#1"}, {"dog", "dog"}, {"cat 2", "cat#2"}, {"cat 3", "cat#1"}});
  v1::FindDuplicatesRequest request;
  const auto report = [&](std::vector<v1::FindDuplicatesResponse>* events) {
    auto context = Context();
    auto reader = running_.images().FindDuplicates(context.get(), request);
    v1::FindDuplicatesResponse event;
    while (reader->Read(&event)) events->push_back(event);
    return Outcome(reader->Finish());
  };
  std::vector<v1::FindDuplicatesResponse> events;
  ASSERT_EQ(report(&events), "OK");
  ASSERT_EQ(events.size(), 2u);
  const v1::DuplicateGroup& group = events[0].group();
  ASSERT_EQ(group.images_size(), 3);
  EXPECT_EQ(group.size(), 3u);
  EXPECT_EQ(group.images(0).id(), "cat 1");
  EXPECT_EQ(group.images(0).tier(), v1::DUPLICATE_TIER_UNSPECIFIED);
  EXPECT_EQ(group.images(1).tier(), v1::SAME_PICTURE);
  EXPECT_EQ(group.images(2).tier(), v1::SAME_BYTES);
  EXPECT_EQ(events[1].summary().images(), 4u);
  EXPECT_EQ(events[1].summary().duplicates(), 2u);
  EXPECT_GE(events[1].summary().version(), 1u);
  const auto refused = [&](const std::function<void()>& change) {
    request.Clear();
    change();
    events.clear();
    const std::string outcome = report(&events);
    EXPECT_TRUE(events.empty());
    return outcome;
  };
  EXPECT_EQ(refused([&] { request.set_collection("nowhere"); }), "NOT_FOUND NO_SUCH_COLLECTION");
  EXPECT_EQ(refused([&] { request.set_filter("k ="); }), "INVALID_ARGUMENT BAD_FILTER");
  EXPECT_EQ(refused([&] { request.set_tier(static_cast<v1::DuplicateTier>(7)); }),
            "INVALID_ARGUMENT BAD_TIER");
  EXPECT_EQ(refused([&] { request.set_min_score(0); }), "INVALID_ARGUMENT BAD_MIN_SCORE");
  const grpc::Status status = running_.CallRaw("/imagesearch.v1.ImageSearch/FindDuplicates",
                                               "\xFF\xFF\xFF garbage", Context().get());
  EXPECT_EQ(Outcome(status), "INVALID_ARGUMENT BAD_REQUEST");
}

TEST_F(ContentTest, ACallerOfFindDuplicatesMayGoAway) {
  std::vector<std::pair<std::string, std::string>> images;
  for (int i = 0; i < 200; ++i)
    images.emplace_back("i" + std::to_string(i),
                        "p" + std::to_string(i / 2) + "#" + std::to_string(i));
  Upsert("", images);
  for (int i = 0; i < 5; ++i) {
    auto context = Context();
    v1::FindDuplicatesRequest request;
    auto reader = running_.images().FindDuplicates(context.get(), request);
    v1::FindDuplicatesResponse event;
    ASSERT_TRUE(reader->Read(&event));
    context->TryCancel();
    reader->Finish();
  }
  EXPECT_EQ(Upsert("", {{"later", "later"}}).results(0).status().code(), 0);
}

class ClassifyTest : public ContentTest {
 protected:
  std::string Classify(const v1::ClassifyRequest& request) {
    return Outcome(running_.images().Classify(Context().get(), request, &response_));
  }
  static v1::ClassifyRequest Labels(const std::vector<std::string>& labels) {
    v1::ClassifyRequest request;
    for (const std::string& label : labels) request.add_labels(label);
    return request;
  }
  v1::ClassifyResponse response_;
};

TEST_F(ClassifyTest, ProbabilitiesAreTheSoftmaxOfScaledCosines) {
  v1::ClassifyRequest request = Labels({"cat", "dog", "ship"});
  request.set_image("pixels");
  request.add_templates("{}");
  ASSERT_EQ(Classify(request), "OK");
  ASSERT_EQ(response_.results_size(), 1);
  const auto& labels = response_.results(0).labels();
  ASSERT_EQ(labels.size(), 3);
  const std::vector<float> image = running_.encoder().VectorOf(encoder::Input::Image("pixels"));
  double sum = 0, probabilities = 0;
  for (const v1::LabelProbability& label : labels) {
    const std::vector<float> text =
        running_.encoder().VectorOf(encoder::Input::Text(label.label()));
    double cosine = 0;
    for (size_t d = 0; d < text.size(); ++d) cosine += double{text[d]} * image[d];
    EXPECT_NEAR(label.score(), cosine, 1e-5);
    sum += std::exp(running_.encoder().model().logit_scale * cosine);
    probabilities += label.probability();
  }
  EXPECT_NEAR(probabilities, 1, 1e-5);
  EXPECT_NEAR(labels[0].probability(),
              std::exp(running_.encoder().model().logit_scale * labels[0].score()) / sum, 1e-3);
  EXPECT_GE(labels[0].score(), labels[1].score());
  request.set_top(1);
  ASSERT_EQ(Classify(request), "OK");
  EXPECT_EQ(response_.results(0).labels_size(), 1);
}

TEST_F(ClassifyTest, PromptsAreAveraged) {
  v1::ClassifyRequest request = Labels({"cat", "dog"});
  request.set_image("pixels");
  request.add_templates("a {}");
  request.add_templates("the {}");
  ASSERT_EQ(Classify(request), "OK");
  const std::vector<float> image = running_.encoder().VectorOf(encoder::Input::Image("pixels"));
  for (const v1::LabelProbability& label : response_.results(0).labels()) {
    const auto a = running_.encoder().VectorOf(encoder::Input::Text("a " + label.label()));
    const auto b = running_.encoder().VectorOf(encoder::Input::Text("the " + label.label()));
    double dot = 0, squares = 0;
    for (size_t d = 0; d < a.size(); ++d) {
      dot += (double{a[d]} + b[d]) * image[d];
      squares += (double{a[d]} + b[d]) * (double{a[d]} + b[d]);
    }
    EXPECT_NEAR(label.score(), dot / std::sqrt(squares), 1e-5);
  }
}

TEST_F(ClassifyTest, AWholeCollectionPageByPageIsWrittenBack) {
  std::vector<std::pair<std::string, std::string>> images;
  for (int i = 0; i < 25; ++i)
    images.emplace_back("i" + std::to_string(i), "p" + std::to_string(i));
  Upsert("", images);
  v1::ClassifyRequest request = Labels({"cat", "dog"});
  request.set_by_filter(true);
  request.set_page_size(10);
  request.set_write_field("kind");
  int pages = 0, updated = 0, results = 0;
  do {
    ASSERT_EQ(Classify(request), "OK");
    ++pages;
    updated += static_cast<int>(response_.updated());
    results += response_.results_size();
    request.set_page_token(response_.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_EQ(pages, 3);
  EXPECT_EQ(updated, 25);
  EXPECT_EQ(results, 25);
  v1::CountRequest count;
  count.set_filter(R"(kind IN ["cat", "dog"] AND kind_probability >= 0.5)");
  v1::CountResponse counted;
  ASSERT_EQ(Outcome(running_.images().Count(Context().get(), count, &counted)), "OK");
  EXPECT_EQ(counted.count(), 25u);
  request = Labels({"cat", "dog"});
  request.add_ids("i3");
  request.add_ids("nobody");
  ASSERT_EQ(Classify(request), "OK");
  EXPECT_EQ(response_.results(0).labels_size(), 2);
  EXPECT_EQ(Outcome(response_.results(1).status()), "NOT_FOUND NOT_FOUND");
  EXPECT_EQ(response_.updated(), 0u);
}

TEST_F(ClassifyTest, BadRequestsAreNamed) {
  const auto outcome = [this](const std::function<void(v1::ClassifyRequest&)>& change) {
    v1::ClassifyRequest request = Labels({"cat", "dog"});
    request.set_image("pixels");
    change(request);
    return Classify(request);
  };
  EXPECT_EQ(outcome([](auto& r) { r.clear_image(); }), "INVALID_ARGUMENT BAD_REQUEST");
  EXPECT_EQ(outcome([](auto& r) { r.add_ids("x"); }), "INVALID_ARGUMENT BAD_REQUEST");
  EXPECT_EQ(outcome([](auto& r) { r.set_filter("k = 1"); }), "INVALID_ARGUMENT BAD_REQUEST");
  EXPECT_EQ(outcome([](auto& r) { r.set_write_field("k"); }), "INVALID_ARGUMENT BAD_REQUEST");
  EXPECT_EQ(outcome([](auto& r) { r.clear_labels(); }), "INVALID_ARGUMENT BAD_LABELS");
  EXPECT_EQ(outcome([](auto& r) { r.add_labels("cat"); }), "INVALID_ARGUMENT BAD_LABELS");
  EXPECT_EQ(outcome([](auto& r) { r.add_labels(""); }), "INVALID_ARGUMENT BAD_LABELS");
  EXPECT_EQ(outcome([](auto& r) { r.add_templates("no place"); }), "INVALID_ARGUMENT BAD_TEMPLATE");
  EXPECT_EQ(outcome([](auto& r) { r.set_image("bad"); }), "INVALID_ARGUMENT CORRUPT_IMAGE");
  EXPECT_EQ(outcome([](auto& r) { r.set_top(-1); }), "INVALID_ARGUMENT BAD_LIMIT");
  EXPECT_EQ(outcome([](auto& r) {
              for (int i = 0; i < 1000; ++i) r.add_labels(std::to_string(i));
            }),
            "INVALID_ARGUMENT BAD_LABELS");
}

}  // namespace
}  // namespace imagesearch::server
