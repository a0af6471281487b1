// What changes and tells of the content of stored images, through gRPC.
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

}  // namespace
}  // namespace imagesearch::server
