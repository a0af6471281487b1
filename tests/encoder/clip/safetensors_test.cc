// The safetensors reader against hostile and damaged files.
#include "encoder/clip/safetensors.h"

#include <filesystem>
#include <string>

#include "base/error.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/encoder/clip/checkpoint_builder.h"

namespace imagesearch::encoder {
namespace {

using testing::HasSubstr;

class SafetensorsTest : public testing::Test {
 protected:
  SafetensorsTest() : dir_(testing::TempDir() + "/safetensors_test") {
    std::filesystem::remove_all(dir_);
    std::filesystem::create_directories(dir_);
  }
  ~SafetensorsTest() override { std::filesystem::remove_all(dir_); }

  absl::StatusOr<std::unique_ptr<Safetensors>> OpenBytes(const std::string& bytes) {
    WriteFile(dir_ + "/model.safetensors", bytes);
    return Safetensors::Open(dir_, "model.safetensors");
  }

  // The file is refused as damaged, and the message says `what`.
  void ExpectDamaged(const std::string& bytes, const std::string& what) {
    const auto opened = OpenBytes(bytes);
    ASSERT_FALSE(opened.ok()) << what;
    EXPECT_EQ(opened.status().code(), absl::StatusCode::kDataLoss);
    EXPECT_EQ(ReasonOf(opened.status()), "MODEL_DAMAGED");
    EXPECT_THAT(std::string(opened.status().message()), HasSubstr(what));
  }

  const std::string dir_;
};

std::string Entry(const std::string& name, const std::string& dtype, const std::string& shape,
                  const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":" + shape +
         ",\"data_offsets\":" + offsets + "}";
}

TEST_F(SafetensorsTest, ReadsShapesTypesAndData) {
  const auto file = OpenBytes(SafetensorsBytes("{\"__metadata__\":{\"format\":\"pt\"}," +
                                                   Entry("b", "F32", "[2]", "[2,10]") + "," +
                                                   Entry("a", "BF16", "[]", "[0,2]") + "}",
                                               "0123456789"));
  ASSERT_TRUE(file.ok()) << file.status();
  const TensorView* b = (*file)->Find("b");
  ASSERT_NE(b, nullptr);
  EXPECT_EQ(b->dtype, "F32");
  EXPECT_EQ(b->shape, std::vector<int64_t>{2});
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(b->data), b->bytes), "23456789");
  EXPECT_TRUE((*file)->Find("a")->shape.empty());
  EXPECT_EQ((*file)->Find("c"), nullptr);
}

TEST_F(SafetensorsTest, HugeHeaderLengthIsRefusedBeforeAnythingIsRead) {
  ExpectDamaged(std::string(8, '\xff') + "{}", "claims a header of 18446744073709551615 bytes");
  ExpectDamaged(std::string("\x40\0\0\0\0\0\0\0{}", 10), "cut short");
  ExpectDamaged("tiny", "shorter than a safetensors header");
}

TEST_F(SafetensorsTest, HeaderThatIsNoJsonObject) {
  ExpectDamaged(SafetensorsBytes("[1,2]", ""), "not a JSON object");
  ExpectDamaged(SafetensorsBytes("{\"a\":", ""), "not a JSON object");
  ExpectDamaged(SafetensorsBytes(std::string(1 << 20, '['), ""), "not a JSON object");
}

TEST_F(SafetensorsTest, OverlappingTensors) {
  ExpectDamaged(SafetensorsBytes("{" + Entry("a", "U8", "[4]", "[0,4]") + "," +
                                     Entry("b", "U8", "[4]", "[2,6]") + "}",
                                 "012345"),
                "tensor b begins at byte 2, expected 4: it overlaps another");
}

TEST_F(SafetensorsTest, GapAndTrailingBytes) {
  ExpectDamaged(SafetensorsBytes("{" + Entry("a", "U8", "[2]", "[4,6]") + "}", "012345"), "a gap");
  ExpectDamaged(SafetensorsBytes("{" + Entry("a", "U8", "[2]", "[0,2]") + "}", "012345"),
                "holds 6 bytes of data, its header describes 2");
}

TEST_F(SafetensorsTest, TruncatedData) {
  ExpectDamaged(SafetensorsBytes("{" + Entry("a", "F32", "[4]", "[0,16]") + "}", "0123"),
                "tensor a: its data ends at byte 16 of 4: the file is cut short");
}

TEST_F(SafetensorsTest, UnknownDtypeAndWrongSize) {
  ExpectDamaged(SafetensorsBytes("{" + Entry("a", "F99", "[1]", "[0,4]") + "}", "0123"),
                "tensor a: unknown dtype");
  ExpectDamaged(SafetensorsBytes("{" + Entry("a", "F32", "[2]", "[0,4]") + "}", "0123"),
                "needs 8 bytes, data_offsets give 4");
}

TEST_F(SafetensorsTest, ShapeThatOverflows) {
  ExpectDamaged(
      SafetensorsBytes("{" + Entry("a", "F32", "[2147483647,2147483647,2147483647]", "[0,4]") + "}",
                       "0123"),
      "the shape is too large");
  ExpectDamaged(SafetensorsBytes("{" + Entry("a", "F32", "[-1]", "[0,4]") + "}", "0123"),
                "not a whole number");
  ExpectDamaged(SafetensorsBytes("{" + Entry("a", "F32", "[1]", "[4,0]") + "}", "0123"),
                "not an ascending pair");
}

TEST_F(SafetensorsTest, EveryTruncationOfAGoodFileIsRefused) {
  const std::string good =
      SafetensorsBytes("{" + Entry("a", "F32", "[2]", "[0,8]") + "}", "01234567");
  for (size_t size = 1; size < good.size(); ++size)
    EXPECT_FALSE(OpenBytes(good.substr(0, size)).ok()) << size;
  EXPECT_TRUE(OpenBytes(good).ok());
}

TEST_F(SafetensorsTest, ShardsThroughTheIndex) {
  const auto index = [&](const std::string& map) {
    WriteFile(dir_ + "/model.safetensors.index.json", "{\"weight_map\":" + map + "}");
    return Safetensors::Open(dir_, "model.safetensors");
  };
  WriteFile(dir_ + "/1.safetensors",
            SafetensorsBytes("{" + Entry("a", "U8", "[1]", "[0,1]") + "}", "x"));
  WriteFile(dir_ + "/2.safetensors",
            SafetensorsBytes("{" + Entry("b", "U8", "[1]", "[0,1]") + "}", "y"));
  const auto file = index("{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}");
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(*(*file)->Find("a")->data, 'x');
  EXPECT_EQ(*(*file)->Find("b")->data, 'y');
  EXPECT_EQ((*file)->files().size(), 2u);

  EXPECT_EQ(index("{\"a\":\"3.safetensors\"}").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(index("{\"a\":\"../1.safetensors\"}").status().message()),
              HasSubstr("outside the folder"));
  EXPECT_FALSE(index("[]").ok());
  WriteFile(dir_ + "/2.safetensors",
            SafetensorsBytes("{" + Entry("a", "U8", "[1]", "[0,1]") + "}", "y"));
  EXPECT_THAT(
      std::string(index("{\"a\":\"1.safetensors\",\"b\":\"2.safetensors\"}").status().message()),
      HasSubstr("also in another shard"));
}

TEST_F(SafetensorsTest, MissingFileIsNotFound) {
  const auto opened = Safetensors::Open(dir_, "model.safetensors");
  EXPECT_EQ(opened.status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReasonOf(opened.status()), "MODEL_FILE_MISSING");
}

}  // namespace
}  // namespace imagesearch::encoder
