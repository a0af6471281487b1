// Several models in one server: each collection is served by its own; loading and unloading.
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/server/running_server.h"

namespace imagesearch::server {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

encoder::FakeEncoderOptions Big() {
  encoder::FakeEncoderOptions options;
  options.model_id = "big@12345678";
  options.dimension = 16;
  options.seed = 16;
  return options;
}

// "Loads" folders as fakes of that name.
class FakeLoader final : public ModelLoader {
 public:
  absl::StatusOr<uint64_t> Estimate(const std::string& folder, const std::string&) const override {
    const std::string name = std::filesystem::path(folder).filename().string();
    return name == "huge" ? uint64_t{1} << 60 : uint64_t{1} << 20;
  }
  absl::StatusOr<ServedModel> Load(const std::string& folder, const std::string&) override {
    encoder::FakeEncoderOptions options = Big();
    options.model_id = std::filesystem::path(folder).filename().string() + "@87654321";
    return ServedModel{folder, std::make_shared<encoder::FakeEncoder>(options), nullptr};
  }
};

class ModelsTest : public ::testing::Test {
 protected:
  ModelsTest() {
    std::string pattern = ::testing::TempDir() + "/imagesearch_models_XXXXXX";
    if (mkdtemp(pattern.data()) == nullptr) std::abort();
    models_dir_ = pattern;
    for (const char* name : {"clip-a", "huge"}) {
      std::filesystem::create_directory(models_dir_ + "/" + name);
    }
    std::filesystem::create_directory_symlink("/", models_dir_ + "/out");
    running_ = std::make_unique<RunningServer>(
        [this](ServerConfig& config) { config.set_models_dir(models_dir_); }, /*serve=*/false);
    running_->SetLoader(std::make_shared<FakeLoader>());
    running_->Serve();
  }
  ~ModelsTest() override {
    running_.reset();
    std::error_code ignored;
    std::filesystem::remove_all(models_dir_, ignored);
  }

  std::string Create(const std::string& name, const std::string& model) {
    v1::CreateCollectionRequest request;
    request.mutable_collection()->set_name(name);
    request.mutable_collection()->set_model_id(model);
    v1::CreateCollectionResponse response;
    return Outcome(running_->admin().CreateCollection(Context().get(), request, &response));
  }

  std::string Put(const std::string& collection, const std::string& id) {
    v1::UpsertRequest request;
    request.set_collection(collection);
    request.add_images()->set_id(id);
    request.mutable_images(0)->set_content("pixels of " + id);
    v1::UpsertResponse response;
    const grpc::Status status = running_->images().Upsert(Context().get(), request, &response);
    return status.ok() ? Outcome(response.results(0).status()) : Outcome(status);
  }

  std::string Find(const std::string& collection, const std::string& image, v1::Hit* hit) {
    v1::SearchRequest request;
    request.set_collection(collection);
    request.mutable_query()->add_terms()->set_image("pixels of " + image);
    request.set_with_vector(true);
    v1::SearchResponse response;
    const std::string outcome =
        Outcome(running_->images().Search(Context().get(), request, &response));
    if (response.hits_size() > 0) *hit = response.hits(0);
    return outcome;
  }

  std::string Load(const std::string& name, v1::LoadModelResponse* response = nullptr,
                   bool check_only = false) {
    v1::LoadModelRequest request;
    request.set_name(name);
    request.set_check_only(check_only);
    v1::LoadModelResponse ignored;
    return Outcome(running_->admin().LoadModel(Context().get(), request,
                                               response == nullptr ? &ignored : response));
  }

  std::string Unload(const std::string& model) {
    v1::UnloadModelRequest request;
    request.set_model(model);
    v1::UnloadModelResponse response;
    return Outcome(running_->admin().UnloadModel(Context().get(), request, &response));
  }

  v1::ListModelsResponse List() {
    v1::ListModelsResponse response;
    EXPECT_EQ(Outcome(running_->admin().ListModels(Context().get(), {}, &response)), "OK");
    return response;
  }

  std::string models_dir_;
  std::unique_ptr<RunningServer> running_;
};

TEST_F(ModelsTest, EachCollectionIsServedByItsOwnModel) {
  running_->AddModel(Big());
  ASSERT_EQ(Create("large", "big"), "OK");
  for (const char* collection : {"default", "large"}) {
    ASSERT_EQ(Put(collection, "a"), "OK");
    ASSERT_EQ(Put(collection, "b"), "OK");
    v1::Hit hit;
    ASSERT_EQ(Find(collection, "b", &hit), "OK");
    EXPECT_EQ(hit.id(), "b");
    EXPECT_NEAR(hit.score(), 1, 1e-5);
    EXPECT_EQ(hit.vector().values_size(), collection == std::string("large") ? 16 : 8);
  }
  // One batch over both.
  v1::SearchBatchRequest batch;
  for (const char* collection : {"default", "large"}) {
    v1::SearchRequest* request = batch.add_requests();
    request->set_collection(collection);
    request->mutable_query()->add_terms()->set_image("pixels of a");
  }
  v1::SearchBatchResponse found;
  ASSERT_EQ(Outcome(running_->images().SearchBatch(Context().get(), batch, &found)), "OK");
  for (const v1::SearchResult& result : found.results()) {
    ASSERT_EQ(Outcome(result.status()), "OK");
    EXPECT_EQ(result.response().hits(0).id(), "a");
    EXPECT_NEAR(result.response().hits(0).score(), 1, 1e-5);
  }
}

TEST_F(ModelsTest, EncodeTakesAModel) {
  running_->AddModel(Big());
  v1::EncodeRequest request;
  request.add_inputs()->set_text("cat");
  v1::EncodeResponse response;
  ASSERT_EQ(Outcome(running_->images().Encode(Context().get(), request, &response)), "OK");
  EXPECT_EQ(response.results(0).vector().values_size(), 8);
  request.set_model("big@12345678");
  ASSERT_EQ(Outcome(running_->images().Encode(Context().get(), request, &response)), "OK");
  EXPECT_EQ(response.results(0).vector().values_size(), 16);
  EXPECT_EQ(response.model().id(), "big@12345678");
  request.set_model("nothing");
  EXPECT_EQ(Outcome(running_->images().Encode(Context().get(), request, &response)),
            "NOT_FOUND NO_SUCH_MODEL");
}

TEST_F(ModelsTest, ACollectionWithoutItsModelAnswersVectorsAndIds) {
  running_->AddModel(Big());
  ASSERT_EQ(Create("large", "big"), "OK");
  ASSERT_EQ(Put("large", "a"), "OK");
  ASSERT_EQ(Unload("big"), "OK");
  EXPECT_EQ(Put("large", "b"), "FAILED_PRECONDITION MODEL_MISMATCH");
  v1::SearchRequest request;
  request.set_collection("large");
  request.mutable_query()->add_terms()->set_text("cat");
  v1::SearchResponse response;
  const grpc::Status refused = running_->images().Search(Context().get(), request, &response);
  EXPECT_EQ(Outcome(refused), "FAILED_PRECONDITION MODEL_MISMATCH");
  EXPECT_THAT(refused.error_message(), HasSubstr("big@12345678"));
  request.mutable_query()->mutable_terms(0)->set_id("a");
  EXPECT_EQ(Outcome(running_->images().Search(Context().get(), request, &response)), "OK");
  EXPECT_EQ(response.hits_size(), 1);
  v1::ListRequest list;
  list.set_collection("large");
  v1::ListResponse listed;
  EXPECT_EQ(Outcome(running_->images().List(Context().get(), list, &listed)), "OK");
  EXPECT_EQ(listed.images_size(), 1);
}

TEST_F(ModelsTest, LoadListUnload) {
  v1::LoadModelResponse loaded;
  ASSERT_EQ(Load("clip-a", &loaded, /*check_only=*/true), "OK");
  EXPECT_EQ(loaded.estimated_bytes(), uint64_t{1} << 20);
  EXPECT_GT(loaded.available_bytes(), 0u);
  EXPECT_FALSE(loaded.has_model());
  EXPECT_EQ(List().models_size(), 1);
  ASSERT_EQ(Load("clip-a", &loaded), "OK");
  EXPECT_EQ(loaded.model().id(), "clip-a@87654321");
  EXPECT_EQ(Load("clip-a"), "ALREADY_EXISTS MODEL_LOADED");
  ASSERT_EQ(Create("a", "clip-a"), "OK");
  const v1::ListModelsResponse list = List();
  ASSERT_EQ(list.models_size(), 2);
  EXPECT_TRUE(list.models(0).is_default());
  EXPECT_THAT(list.models(0).collections(), ElementsAre("default"));
  EXPECT_THAT(list.models(1).collections(), ElementsAre("a"));
  EXPECT_THAT(list.available(), ElementsAre("clip-a", "huge", "out"));
  v1::GetServerInfoResponse info;
  ASSERT_EQ(Outcome(running_->admin().GetServerInfo(Context().get(), {}, &info)), "OK");
  EXPECT_EQ(info.models_size(), 2);
  EXPECT_EQ(Unload("clip-a"), "OK");
  EXPECT_EQ(Unload("clip-a"), "NOT_FOUND NO_SUCH_MODEL");
  EXPECT_EQ(Unload(info.model().id()), "FAILED_PRECONDITION DEFAULT_MODEL");
}

TEST_F(ModelsTest, WhatDoesNotFitIsNotLoaded) {
  EXPECT_EQ(Load("huge"), "RESOURCE_EXHAUSTED MODEL_MEMORY");
  EXPECT_EQ(List().models_size(), 1);
}

// The names come from the network.
TEST_F(ModelsTest, NothingOutsideTheFolderIsLoaded) {
  for (const char* name : {"", "..", "../x", "/etc", "a/b", ".hidden", "clip-a/"}) {
    EXPECT_EQ(Load(name), "INVALID_ARGUMENT BAD_NAME") << name;
  }
  EXPECT_EQ(Load("out"), "PERMISSION_DENIED BAD_NAME");
  EXPECT_EQ(Load("absent"), "NOT_FOUND NO_SUCH_MODEL");
}

TEST(ModelsWithoutFolderTest, LoadingIsOff) {
  RunningServer running;
  v1::LoadModelRequest request;
  request.set_name("clip-a");
  v1::LoadModelResponse response;
  EXPECT_EQ(Outcome(running.admin().LoadModel(Context().get(), request, &response)),
            "FAILED_PRECONDITION NO_MODELS_DIR");
}

}  // namespace
}  // namespace imagesearch::server
