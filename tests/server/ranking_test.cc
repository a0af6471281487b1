// What a search can ask beyond the nearest neighbours, through gRPC: parts of pictures, groups,
// diversity, rounds of feedback.
#include <cmath>
#include <limits>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/running_server.h"

namespace imagesearch::server {
namespace {

using ::testing::ElementsAre;

class RankingTest : public ::testing::Test {
 protected:
  std::string Search(const v1::SearchRequest& request) {
    response_.Clear();
    return Outcome(running_.images().Search(Context().get(), request, &response_));
  }
  std::vector<std::string> Ids() const {
    std::vector<std::string> ids;
    for (const v1::Hit& hit : response_.hits()) ids.push_back(hit.id());
    return ids;
  }

  // A collection "plane" of vectors at these angles to (1, 0), in degrees, with albums.
  void MakePlane() {
    v1::CreateCollectionRequest create;
    create.mutable_collection()->set_name("plane");
    create.mutable_collection()->set_dimension(2);
    v1::CreateCollectionResponse created;
    ASSERT_EQ(Outcome(running_.admin().CreateCollection(Context().get(), create, &created)), "OK");
    v1::UpsertRequest request;
    request.set_collection("plane");
    const std::vector<std::pair<int, std::string>> images = {{0, "a"},  {10, "a"}, {20, "b"},
                                                             {50, "b"}, {90, "c"}, {180, "c"}};
    for (const auto& [degrees, album] : images) {
      v1::Image* image = request.add_images();
      image->set_id("at" + std::to_string(degrees));
      image->mutable_vector()->add_values(std::cos(degrees * M_PI / 180));
      image->mutable_vector()->add_values(std::sin(degrees * M_PI / 180));
      (*image->mutable_metadata()->mutable_fields())["album"].set_string_value(album);
    }
    v1::UpsertResponse upserted;
    ASSERT_EQ(Outcome(running_.images().Upsert(Context().get(), request, &upserted)), "OK");
  }
  static v1::SearchRequest AskPlane(const std::vector<std::pair<std::string, float>>& ids) {
    v1::SearchRequest request;
    request.set_collection("plane");
    for (const auto& [id, weight] : ids) {
      v1::Term* term = request.mutable_query()->add_terms();
      term->set_id(id);
      term->set_weight(weight);
    }
    return request;
  }

  RunningServer running_;
  v1::SearchResponse response_;
};

TEST_F(RankingTest, APartOfAPictureIsItsOwnQuery) {
  running_.Put("whole", "pixels");
  v1::SearchRequest request;
  v1::Term* term = request.mutable_query()->add_terms();
  term->set_image("pixels");
  ASSERT_EQ(Search(request), "OK");
  EXPECT_NEAR(response_.hits(0).score(), 1, 1e-5);
  term->mutable_crop()->set_x(0.3f);
  term->mutable_crop()->set_width(0.7f);  // 0.3f + 0.7f is above 1
  term->mutable_crop()->set_height(1);
  ASSERT_EQ(Search(request), "OK");
  encoder::Input part = encoder::Input::Image("pixels");
  part.crop = encoder::CropBox{0.3f, 0, 1, 1};
  const std::vector<float> a = running_.encoder().VectorOf(part);
  const std::vector<float> b = running_.encoder().VectorOf(encoder::Input::Image("pixels"));
  float cosine = 0;
  for (size_t i = 0; i < a.size(); ++i) cosine += a[i] * b[i];
  EXPECT_NEAR(response_.hits(0).score(), cosine, 1e-5);
  EXPECT_LT(cosine, 0.99f);
}

TEST_F(RankingTest, ABadCropBoxIsRefused) {
  running_.Put("whole", "pixels");
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const auto& [x, y, width, height] :
       std::vector<std::array<float, 4>>{{0, 0, 0, 1},
                                         {-0.1f, 0, 1, 1},
                                         {0.5f, 0, 0.6f, 1},
                                         {0, 1, 1, 0.5f},
                                         {0, 0, 1, nan},
                                         {0.5f, 0, 1e-12f, 1}}) {
    v1::SearchRequest request;
    v1::Term* term = request.mutable_query()->add_terms();
    term->set_image("pixels");
    term->mutable_crop()->set_x(x);
    term->mutable_crop()->set_y(y);
    term->mutable_crop()->set_width(width);
    term->mutable_crop()->set_height(height);
    EXPECT_EQ(Search(request), "INVALID_ARGUMENT BAD_CROP_BOX") << x << " " << y << " " << width;
    term->set_text("no picture");
    term->mutable_crop()->set_width(1);
    EXPECT_EQ(Search(request), "INVALID_ARGUMENT BAD_CROP_BOX");
  }
}

TEST_F(RankingTest, GroupsAndDiversityReachTheIndex) {
  MakePlane();
  v1::SearchRequest request = AskPlane({{"at0", 1}});
  request.mutable_group_by()->set_field("album");
  ASSERT_EQ(Search(request), "OK");
  EXPECT_THAT(Ids(), ElementsAre("at0", "at20", "at90"));
  EXPECT_EQ(response_.hits(1).group().string_value(), "b");
  EXPECT_FALSE(response_.hits(0).has_metadata());
  EXPECT_GE(response_.version(), 1u);
  request.set_limit(1);
  request.set_offset(1);
  request.mutable_group_by()->set_limit(2);
  ASSERT_EQ(Search(request), "OK");
  EXPECT_THAT(Ids(), ElementsAre("at20", "at50"));
  request.clear_group_by();
  request.set_offset(0);
  request.set_limit(2);
  request.set_diversity(1);
  ASSERT_EQ(Search(request), "OK");
  EXPECT_THAT(Ids(), ElementsAre("at0", "at180"));
}

TEST_F(RankingTest, WordsAndValueCountsReachTheIndex) {
  MakePlane();
  v1::SearchRequest request = AskPlane({{"at0", 1}});
  request.mutable_keywords()->set_text("C");
  request.set_limit(2);
  request.add_facets()->set_field("album");
  ASSERT_EQ(Search(request), "OK");
  EXPECT_THAT(Ids(), ElementsAre("at90", "at180"));
  EXPECT_GT(response_.hits(0).keyword_score(), 0);
  EXPECT_NEAR(response_.hits(0).score(), 0, 1e-6);
  ASSERT_EQ(response_.facets_size(), 1);
  EXPECT_EQ(response_.facets(0).field(), "album");
  ASSERT_EQ(response_.facets(0).values_size(), 3);
  EXPECT_EQ(response_.facets(0).values(0).value().string_value(), "a");
  EXPECT_EQ(response_.facets(0).values(0).count(), 2u);
  request.mutable_keywords()->add_fields("title");  // no such field
  request.mutable_facets(0)->set_limit(1);
  request.set_filter("album != \"a\"");
  ASSERT_EQ(Search(request), "OK");
  EXPECT_THAT(Ids(), ElementsAre("at20", "at50"));
  EXPECT_FALSE(response_.hits(0).has_keyword_score());
  ASSERT_EQ(response_.facets(0).values_size(), 1);
  EXPECT_EQ(response_.facets(0).values(0).value().string_value(), "b");
}

TEST_F(RankingTest, RelevanceIsToldWhenAskedForAndCuts) {
  for (int i = 0; i < 40; ++i)
    running_.Put("i" + std::to_string(i), "content " + std::to_string(i));
  v1::SearchRequest request;
  request.mutable_query()->add_terms()->set_image("content 7");
  ASSERT_EQ(Search(request), "OK");
  EXPECT_FALSE(response_.hits(0).has_relevance());
  request.set_with_relevance(true);
  ASSERT_EQ(Search(request), "OK");
  ASSERT_EQ(response_.hits_size(), 10);
  EXPECT_TRUE(response_.hits(9).has_relevance());
  for (int i = 1; i < 10; ++i) {
    EXPECT_LE(response_.hits(i).relevance(), response_.hits(i - 1).relevance());
  }
  const float middle = response_.hits(4).relevance();
  request.set_with_relevance(false);
  request.set_min_relevance(middle);
  ASSERT_EQ(Search(request), "OK");
  EXPECT_EQ(response_.hits_size(), 5);
  request.set_offset(3);
  ASSERT_EQ(Search(request), "OK");
  EXPECT_EQ(response_.hits_size(), 2);
  request.set_offset(0);
  request.clear_min_relevance();
  request.set_auto_cut(true);
  ASSERT_EQ(Search(request), "OK");
  EXPECT_LT(response_.hits_size(), 10);
  for (const v1::Hit& hit : response_.hits()) EXPECT_GE(hit.relevance(), 0.7f);
}

TEST_F(RankingTest, BadWishesAreNamed) {
  MakePlane();
  v1::SearchRequest request = AskPlane({{"at0", 1}});
  request.mutable_group_by();
  EXPECT_EQ(Search(request), "INVALID_ARGUMENT BAD_FIELD");
  request.mutable_group_by()->set_field("two words");
  EXPECT_EQ(Search(request), "INVALID_ARGUMENT BAD_FIELD");
  request.mutable_group_by()->set_field("album");
  request.mutable_group_by()->set_limit(101);
  EXPECT_EQ(Search(request), "INVALID_ARGUMENT BAD_LIMIT");
  request.mutable_group_by()->set_limit(100);
  request.set_limit(11);
  EXPECT_EQ(Search(request), "INVALID_ARGUMENT BAD_LIMIT");
  request.clear_group_by();
  for (const float diversity : {-0.1f, 1.1f, std::numeric_limits<float>::quiet_NaN()}) {
    request.set_diversity(diversity);
    EXPECT_EQ(Search(request), "INVALID_ARGUMENT BAD_DIVERSITY");
  }
  request.clear_diversity();
  for (const float least : {-0.1f, 1.1f, std::numeric_limits<float>::quiet_NaN()}) {
    request.set_min_relevance(least);
    EXPECT_EQ(Search(request), "INVALID_ARGUMENT BAD_RELEVANCE");
  }
  request.clear_min_relevance();
  for (const std::string& text : {std::string(), std::string(" ,.-"), std::string(4097, 'x')}) {
    request.mutable_keywords()->set_text(text);
    EXPECT_EQ(Search(request), "INVALID_ARGUMENT BAD_KEYWORDS");
  }
  request.mutable_keywords()->set_text("word");
  for (const float weight : {0.0f, -1.0f, 101.0f, std::numeric_limits<float>::quiet_NaN()}) {
    request.mutable_keywords()->set_weight(weight);
    EXPECT_EQ(Search(request), "INVALID_ARGUMENT BAD_WEIGHT");
  }
  request.mutable_keywords()->clear_weight();
  request.mutable_keywords()->add_fields("");
  EXPECT_EQ(Search(request), "INVALID_ARGUMENT BAD_FIELD");
  for (int i = 0; i < 16; ++i) request.mutable_keywords()->add_fields("x");
  EXPECT_EQ(Search(request), "INVALID_ARGUMENT TOO_MANY");
  request.clear_keywords();
  request.add_facets()->set_field("id");
  EXPECT_EQ(Search(request), "INVALID_ARGUMENT BAD_FIELD");
  request.mutable_facets(0)->set_field("album");
  request.mutable_facets(0)->set_limit(1001);
  EXPECT_EQ(Search(request), "INVALID_ARGUMENT BAD_LIMIT");
  for (int i = 0; i < 16; ++i) request.add_facets()->set_field("album");
  EXPECT_EQ(Search(request), "INVALID_ARGUMENT TOO_MANY");
}

// A round of relevance feedback: more like these, less like those, as Rocchio's formula.
TEST_F(RankingTest, MoreLikeTheseLessLikeThoseOverStoredIds) {
  MakePlane();
  // 0 and 50 degrees alike: 25 degrees, between them.
  ASSERT_EQ(Search(AskPlane({{"at0", 1}, {"at50", 1}})), "OK");
  EXPECT_EQ(response_.hits(0).id(), "at20");
  EXPECT_NEAR(response_.hits(0).score(), std::cos(5 * M_PI / 180), 1e-5);
  // Less like 0 degrees turns it away: (0, sin 50) after taking cos 50 of (1, 0).
  ASSERT_EQ(
      Search(AskPlane({{"at50", 1}, {"at0", -static_cast<float>(std::cos(50 * M_PI / 180))}})),
      "OK");
  EXPECT_EQ(response_.hits(0).id(), "at90");
  EXPECT_NEAR(response_.hits(0).score(), 1, 1e-5);
  EXPECT_EQ(Search(AskPlane({{"at0", 1}, {"gone", -1}})), "NOT_FOUND NOT_FOUND");
}

// The same with texts and pictures between the ids: the sum of the unit vectors, by weight.
TEST_F(RankingTest, IdsTextsAndPicturesMixByTheFormula) {
  for (const char* name : {"one", "two", "three", "four"}) running_.Put(name, name);
  v1::SearchRequest request;
  const auto add = [&](float weight) {
    v1::Term* term = request.mutable_query()->add_terms();
    term->set_weight(weight);
    return term;
  };
  add(2)->set_id("one");
  add(-0.5f)->set_id("two");
  add(1)->set_text("a text");
  add(-1)->set_text("not this");
  add(0.25f)->set_image("a picture");
  request.set_with_vector(true);
  ASSERT_EQ(Search(request), "OK");
  const auto vector = [&](const encoder::Input& input) {
    return running_.encoder().VectorOf(input);
  };
  const std::vector<std::pair<float, std::vector<float>>> terms = {
      {2, vector(encoder::Input::Image("one"))},
      {-0.5f, vector(encoder::Input::Image("two"))},
      {1, vector(encoder::Input::Text("a text"))},
      {-1, vector(encoder::Input::Text("not this"))},
      {0.25f, vector(encoder::Input::Image("a picture"))}};
  std::vector<double> sum(8);
  double norm = 0;
  for (size_t i = 0; i < sum.size(); ++i) {
    for (const auto& [weight, values] : terms) sum[i] += weight * values[i];
    norm += sum[i] * sum[i];
  }
  ASSERT_EQ(response_.hits_size(), 4);
  for (const v1::Hit& hit : response_.hits()) {
    double score = 0;
    for (size_t i = 0; i < sum.size(); ++i) score += hit.vector().values(i) * sum[i];
    EXPECT_NEAR(hit.score(), score / std::sqrt(norm), 1e-5) << hit.id();
  }
}

TEST_F(RankingTest, ABatchAnswersPlainAndRankedSearchesInTheirOrder) {
  MakePlane();
  v1::SearchBatchRequest batch;
  *batch.add_requests() = AskPlane({{"at0", 1}});
  *batch.add_requests() = AskPlane({{"at0", 1}});
  batch.mutable_requests(1)->mutable_group_by()->set_field("album");
  *batch.add_requests() = AskPlane({{"at90", 1}});
  *batch.add_requests() = AskPlane({{"at0", 1}});
  batch.mutable_requests(3)->mutable_group_by()->set_field("");
  v1::SearchBatchResponse response;
  ASSERT_EQ(Outcome(running_.images().SearchBatch(Context().get(), batch, &response)), "OK");
  EXPECT_EQ(response.results(0).response().hits_size(), 6);
  EXPECT_EQ(response.results(1).response().hits_size(), 3);
  EXPECT_EQ(response.results(2).response().hits(0).id(), "at90");
  EXPECT_EQ(Outcome(response.results(3).status()), "INVALID_ARGUMENT BAD_FIELD");
}

}  // namespace
}  // namespace imagesearch::server
