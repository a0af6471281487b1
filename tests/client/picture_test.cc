// Shrinking, converting and previewing pictures.
#include <string>

#include "base/error.h"
#include "client/picture/exif.h"
#include "client/picture/heif.h"
#include "client/picture/jpeg.h"
#include "client/picture/prepare.h"
#include "client/picture/thumbnail.h"
#include "encoder/image/header.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace imagesearch::client {
namespace {

// A JPEG with a bright left and a dark right half.
std::string Jpeg(int width, int height) {
  encoder::RgbImage image(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) image.row(y)[3 * x + c] = x < width / 2 ? 240 : 10;
    }
  }
  return WriteJpeg(image, 90);
}

// Puts an EXIF block (one that libexif and Pillow read) after the JPEG's first marker.
std::string WithExif(const std::string& jpeg, const std::string& tiff) {
  const std::string body = std::string("Exif\0\0", 6) + tiff;
  const size_t length = body.size() + 2;
  return jpeg.substr(0, 2) + "\xFF\xE1" + static_cast<char>(length >> 8) +
         static_cast<char>(length & 255) + body + jpeg.substr(2);
}

std::string Orientation(int value) {
  return std::string("MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0", 19) +
         static_cast<char>(value) + std::string("\0\0\0\0\0\0", 6);
}

TEST(PreparePictureTest, WhatFitsStaysByteForByte) {
  const std::string jpeg = Jpeg(64, 48);
  auto prepared = PreparePicture(jpeg, PictureLimits());
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  EXPECT_EQ(prepared->bytes, jpeg);
  EXPECT_EQ(prepared->note, "");
}

TEST(PreparePictureTest, WhatIsNoPictureIsLeftToTheServer) {
  auto prepared = PreparePicture("not a picture", PictureLimits());
  ASSERT_TRUE(prepared.ok());
  EXPECT_EQ(prepared->bytes, "not a picture");
}

TEST(PreparePictureTest, APhotographBeyondThePixelLimitIsShrunk) {
  auto prepared = PreparePicture(Jpeg(8000, 6000), PictureLimits());
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  auto header = encoder::ProbeImage(prepared->bytes);
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header->width, 2048u);
  EXPECT_EQ(header->height, 1536u);
  EXPECT_THAT(prepared->note, testing::HasSubstr("48.0 Mpx JPEG"));
  EXPECT_THAT(prepared->note, testing::HasSubstr("shrunk to 2048x1536"));
}

TEST(PreparePictureTest, APhotographBeyondTheByteLimitIsShrunk) {
  PictureLimits limits;
  limits.max_bytes = 20'000;
  const std::string jpeg = Jpeg(3000, 2000);
  ASSERT_GT(jpeg.size(), limits.max_bytes);
  auto prepared = PreparePicture(jpeg, limits);
  // Whatever comes out is within the limit or refused by name.
  if (prepared.ok()) {
    EXPECT_LE(prepared->bytes.size(), limits.max_bytes);
  } else {
    EXPECT_EQ(ReasonOf(prepared.status()), "IMAGE_TOO_LARGE");
  }
}

TEST(PreparePictureTest, AShrunkPhotographIsUpright) {
  auto prepared = PreparePicture(WithExif(Jpeg(8000, 6000), Orientation(6)), PictureLimits());
  ASSERT_TRUE(prepared.ok()) << prepared.status();
  auto header = encoder::ProbeImage(prepared->bytes);
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header->width, 1536u);
  EXPECT_EQ(header->height, 2048u);
}

TEST(PreparePictureTest, ALargeFileThatIsNoPictureIsRefused) {
  auto prepared = PreparePicture(std::string(9 << 20, 'x'), PictureLimits());
  EXPECT_EQ(prepared.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(PreparePictureTest, ABrokenHeicIsCorrupt) {
  std::string bytes(
      "\0\0\0\x18"
      "ftypheic\0\0\0\0mif1heic",
      24);
  ASSERT_TRUE(IsHeif(bytes));
  EXPECT_EQ(ReasonOf(PreparePicture(bytes, PictureLimits()).status()), "CORRUPT_IMAGE");
}

TEST(ThumbnailTest, IsAJpegOfTheWholePicture) {
  auto thumbnail = Thumbnail(Jpeg(400, 100), 64);
  ASSERT_TRUE(thumbnail.ok()) << thumbnail.status();
  auto header = encoder::ProbeImage(*thumbnail);
  ASSERT_TRUE(header.ok());
  EXPECT_EQ(header->format, encoder::ImageFormat::kJpeg);
  EXPECT_EQ(header->width, 64u);
  EXPECT_EQ(header->height, 16u);
}

TEST(AddExifTest, SizeComesFromTheHeaderAndCameraFromExif) {
  google::protobuf::Struct metadata;
  // One entry: Model (0x0110), ASCII, 4 bytes inline.
  const std::string tiff = std::string("MM\0*\0\0\0\x08\0\x01\x01\x10\0\x02\0\0\0\x04", 18) +
                           std::string("X10\0\0\0\0\0", 8);
  AddExif(WithExif(Jpeg(40, 30), tiff), &metadata);
  EXPECT_EQ(metadata.fields().at("width").number_value(), 40);
  EXPECT_EQ(metadata.fields().at("height").number_value(), 30);
  EXPECT_EQ(metadata.fields().at("camera").string_value(), "X10");
  EXPECT_EQ(metadata.fields().count("taken"), 0u);
}

TEST(AddExifTest, BrokenExifIsLeftOut) {
  google::protobuf::Struct metadata;
  AddExif(WithExif(Jpeg(40, 30), "MM\0*broken"), &metadata);
  EXPECT_EQ(metadata.fields().size(), 2u);
}

}  // namespace
}  // namespace imagesearch::client
