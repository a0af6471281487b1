// Evaluation against the fake server, compared with the same measures taken by hand.
#include "client/evaluate/evaluation.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "client/evaluate/dataset.h"
#include "client/evaluate/temporary_collections.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/client/fake_server.h"
#include "tests/client/temp_folder.h"

namespace imagesearch::client {
namespace {

using testing::ElementsAre;

class EvaluationTest : public testing::Test {
 protected:
  EvaluationTest() {
    ClientOptions options;
    options.channel.target = server_.address();
    client_ = *Client::Connect(options);
  }

  // 60 pictures of 20 subjects, three each; two words decide the fake's vectors.
  std::vector<EvalImage> MakeSet() {
    std::vector<EvalImage> images;
    for (int i = 0; i < 60; ++i) {
      const std::string content = absl::StrCat("subject", i / 3, " picture ", i);
      const std::string name = absl::StrCat(i % 3 == 0 ? "a/" : "b/", i, ".png");
      images.push_back({.name = name,
                        .file = folder_.Write(name, content),
                        .captions = {absl::StrCat("subject", i / 3, " caption ", i)},
                        .group = absl::StrCat("g", i / 3)});
      contents_.push_back(content);
    }
    return images;
  }

  static float Score(const std::string& a, const std::string& b) {
    const auto x = FakeVector(a);
    const auto y = FakeVector(b);
    float sum = 0;
    for (size_t i = 0; i < x.size(); ++i) sum += x[i] * y[i];
    return sum;
  }

  // Percent of queries whose best right answer has fewer than k better ones before it.
  template <typename Right>
  double RecallAt(int k, const std::vector<std::string>& queries,
                  const std::vector<std::string>& gallery, const Right& right) {
    int good = 0;
    for (size_t q = 0; q < queries.size(); ++q) {
      float best = -2;
      for (size_t g = 0; g < gallery.size(); ++g) {
        if (right(q, g)) best = std::max(best, Score(queries[q], gallery[g]));
      }
      int above = 0;
      for (size_t g = 0; g < gallery.size(); ++g) above += Score(queries[q], gallery[g]) > best;
      good += above < k;
    }
    return 100.0 * good / static_cast<double>(queries.size());
  }

  FakeServer server_;
  TempFolder folder_;
  std::unique_ptr<Client> client_;
  std::vector<std::string> contents_;
};

TEST_F(EvaluationTest, CaptionRecallEqualsTheMeasureTakenByHand) {
  auto images = MakeSet();
  std::vector<std::string> captions;
  for (const auto& image : images) captions.push_back(image.captions[0]);
  Evaluation evaluation(client_.get());
  ASSERT_TRUE(evaluation.Store(images).ok());
  const auto same = [](size_t q, size_t g) { return q == g; };

  auto forward = evaluation.TextToImage();
  ASSERT_TRUE(forward.ok()) << forward.status();
  EXPECT_EQ(forward->queries, 60u);
  EXPECT_NEAR(forward->at1, RecallAt(1, captions, contents_, same), 1e-9);
  EXPECT_NEAR(forward->at5, RecallAt(5, captions, contents_, same), 1e-9);
  EXPECT_GT(forward->at5, forward->at1);
  EXPECT_LT(forward->at1, 100);

  auto back = evaluation.ImageToText();
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_NEAR(back->at1, RecallAt(1, contents_, captions, same), 1e-9);
  EXPECT_NEAR(back->at5, RecallAt(5, contents_, captions, same), 1e-9);
}

TEST_F(EvaluationTest, PicturesOfOneGroupAreFoundWithoutThePictureItself) {
  Evaluation evaluation(client_.get());
  ASSERT_TRUE(evaluation.Store(MakeSet()).ok());
  auto result = evaluation.ImageToImage("");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->queries, 60u);
  EXPECT_EQ(result->gallery, 59u);
  EXPECT_EQ(result->at1, 100);  // the first word decides the fake's vectors
}

TEST_F(EvaluationTest, AQueryPrefixAsksAmongTheOthersOnly) {
  Evaluation evaluation(client_.get());
  ASSERT_TRUE(evaluation.Store(MakeSet()).ok());
  auto result = evaluation.ImageToImage("a/");
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->queries, 20u);
  EXPECT_EQ(result->gallery, 40u);
  EXPECT_EQ(result->at1, 100);
}

TEST_F(EvaluationTest, AnyRelevantPictureAnswersAQuery) {
  Evaluation evaluation(client_.get());
  ASSERT_TRUE(evaluation.Store(MakeSet()).ok());
  auto result = evaluation.Queries({{"subject3", {"b/10.png", "b/11.png"}},
                                    {"subject4", {"b/10.png"}},
                                    {"subject5", {"not in the set.png"}}});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->queries, 2u);
  EXPECT_GE(result->at5, 50);
}

TEST_F(EvaluationTest, ZeroShotTakesTheClassOfTheNearestMean) {
  auto images = MakeSet();
  std::vector<std::string> classes;
  for (int c = 0; c < 20; ++c) classes.push_back(absl::StrCat("subject", c));
  for (int i = 0; i < 60; ++i) images[i].group = classes[i / 3];
  Evaluation evaluation(client_.get());
  ASSERT_TRUE(evaluation.Store(images).ok());
  auto result = evaluation.ZeroShot(classes, {"{} one", "{} two"});
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->at1, 100);
  EXPECT_EQ(result->gallery, 20u);
}

TEST_F(EvaluationTest, BadPicturesAreReportedAndLeftOut) {
  auto images = MakeSet();
  images[7].file = folder_.Write("bad.png", "corrupt");
  images[8].file = "/nonexistent.png";
  Evaluation evaluation(client_.get());
  ASSERT_TRUE(evaluation.Store(images).ok());
  ASSERT_EQ(evaluation.failures().size(), 2u);
  EXPECT_EQ(ReasonOf(evaluation.failures()[0].status), "CORRUPT_IMAGE");
  EXPECT_EQ(evaluation.TextToImage()->queries, 58u);
}

TEST_F(EvaluationTest, ItsCollectionsAreGoneAfterwards) {
  {
    Evaluation evaluation(client_.get());
    ASSERT_TRUE(evaluation.Store(MakeSet()).ok());
    ASSERT_TRUE(evaluation.ImageToText().ok());
    EXPECT_GT(server_.Collections().size(), 1u);
  }
  EXPECT_THAT(server_.Collections(), ElementsAre("default"));
}

TEST(DatasetTest, AKarpathyFileGivesTheSplitAskedFor) {
  TempFolder folder;
  folder.Write("dataset_coco.json", R"({"images": [
    {"filepath": "val2014", "filename": "a.jpg", "split": "test", "sentences": [{"raw": "x"}, {"raw": "y"}]},
    {"filepath": "val2014", "filename": "b.jpg", "split": "restval", "sentences": [{"raw": "z"}]}]})");
  auto test = ReadCocoSet(folder / "dataset_coco.json", "", "test");
  ASSERT_TRUE(test.ok()) << test.status();
  ASSERT_EQ(test->size(), 1u);
  EXPECT_EQ((*test)[0].file, folder / "val2014/a.jpg");
  EXPECT_THAT((*test)[0].captions, ElementsAre("x", "y"));
  EXPECT_EQ((*ReadCocoSet(folder / "dataset_coco.json", "", "train"))[0].name, "val2014/b.jpg");
  EXPECT_EQ(ReasonOf(ReadCocoSet(folder / "dataset_coco.json", "", "val").status()),
            "BAD_EVALUATION_SET");
}

TEST(DatasetTest, CocosOwnFileJoinsCaptionsToPictures) {
  TempFolder folder;
  folder.Write("captions.json", R"({"images": [{"id": 7, "file_name": "a.jpg"}],
    "annotations": [{"image_id": 7, "caption": "x"}, {"image_id": 7, "caption": "y"}]})");
  auto set = ReadCocoSet(folder / "captions.json", "/pics", "test");
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_EQ((*set)[0].file, "/pics/a.jpg");
  EXPECT_THAT((*set)[0].captions, ElementsAre("x", "y"));
}

TEST(DatasetTest, FoldersAreClassesAndLabelsNameThem) {
  TempFolder folder;
  folder.Write("set/n02_b/2.jpg", "x");
  folder.Write("set/n01_a/1.jpg", "x");
  folder.Write("labels.txt", "n01_a tench\nn02_b great white shark\n");
  auto plain = ReadFolders(folder / "set", "");
  ASSERT_TRUE(plain.ok()) << plain.status();
  EXPECT_THAT(plain->classes, ElementsAre("n01 a", "n02 b"));
  auto named = ReadFolders(folder / "set", folder / "labels.txt");
  ASSERT_TRUE(named.ok()) << named.status();
  EXPECT_THAT(named->classes, ElementsAre("tench", "great white shark"));
  EXPECT_EQ(named->images[1].group, "great white shark");
}

TEST(DatasetTest, ABrokenLineIsNamed) {
  TempFolder folder;
  folder.Write("set.jsonl", "{\"image\": \"a.png\", \"captions\": [\"x\"]}\n{\"captions\": []}\n");
  const absl::Status status = ReadLinesSet(folder / "set.jsonl", "").status();
  EXPECT_EQ(ReasonOf(status), "BAD_EVALUATION_SET");
  EXPECT_THAT(std::string(status.message()), testing::HasSubstr("line 2"));
}

class TemporaryCollectionsTest : public EvaluationTest {};

TEST_F(TemporaryCollectionsTest, TheCollectionsOfARunningEvaluationAreNotSwept) {
  TemporaryCollections first(client_.get(), folder_ / "state");
  const auto name = first.Make("images", 0);
  ASSERT_TRUE(name.ok()) << name.status();
  TemporaryCollections second(client_.get(), folder_ / "state");
  EXPECT_EQ(second.swept(), 0);
  EXPECT_THAT(server_.Collections(), ElementsAre("default", *name));
}

TEST_F(TemporaryCollectionsTest, OnlyCollectionsOfThisServerAndOfEvaluationsAreSwept) {
  for (const char* name : {"evaluate-images-1", "mine"}) {
    v1::CreateCollectionRequest request;
    request.mutable_collection()->set_name(name);
    ASSERT_TRUE(client_->CreateCollection(request).ok());
  }
  folder_.Write("state/1-a.evaluation", "another-instance\nevaluate-images-1\n");
  EXPECT_EQ(TemporaryCollections(client_.get(), folder_ / "state").swept(), 0);
  folder_.Write("state/1-b.evaluation", "fake-instance\nmine\nevaluate-images-1\n");
  EXPECT_EQ(TemporaryCollections(client_.get(), folder_ / "state").swept(), 1);
  EXPECT_THAT(server_.Collections(), ElementsAre("default", "mine"));
}

TEST_F(TemporaryCollectionsTest, NoneIsMadeOnceTheyAreDeleted) {
  TemporaryCollections collections(client_.get(), "");
  ASSERT_TRUE(collections.Make("images", 0).ok());
  collections.DeleteAll();
  EXPECT_TRUE(absl::IsCancelled(collections.Make("texts", 4).status()));
  EXPECT_THAT(server_.Collections(), ElementsAre("default"));
}

}  // namespace
}  // namespace imagesearch::client
