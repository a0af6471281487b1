// The hash stays near under what does not change a picture, and goes far under what does.
#include "encoder/image/perceptual_hash.h"

#include <bitset>
#include <cmath>
#include <random>

#include "encoder/image/preprocess.h"
#include "encoder/image/resize.h"
#include "gtest/gtest.h"
#include "tests/encoder/image/made_images.h"

namespace imagesearch::encoder {
namespace {

// Soft blobs of colour, as photographs have: unlike for every seed.
RgbImage Blobs(int seed, int width, int height) {
  std::mt19937 random(static_cast<unsigned>(seed));
  std::uniform_real_distribution<double> unit(0, 1);
  struct Blob {
    double x, y, size, r, g, b;
  };
  std::vector<Blob> blobs;
  for (int i = 0; i < 12; ++i) {
    blobs.push_back({unit(random), unit(random), 0.05 + 0.2 * unit(random), 255 * unit(random),
                     255 * unit(random), 255 * unit(random)});
  }
  RgbImage image(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      double r = 128, g = 128, b = 128, weight = 1;
      for (const Blob& blob : blobs) {
        const double dx = (x + 0.5) / width - blob.x, dy = (y + 0.5) / height - blob.y;
        const double w = 4 * std::exp(-(dx * dx + dy * dy) / (blob.size * blob.size));
        r += w * blob.r;
        g += w * blob.g;
        b += w * blob.b;
        weight += w;
      }
      uint8_t* pixel = image.row(y) + 3 * x;
      pixel[0] = static_cast<uint8_t>(r / weight);
      pixel[1] = static_cast<uint8_t>(g / weight);
      pixel[2] = static_cast<uint8_t>(b / weight);
    }
  }
  return image;
}

int Bits(uint64_t a, uint64_t b) { return static_cast<int>(std::bitset<64>(a ^ b).count()); }
uint64_t HashOf(const RgbImage& image) { return PerceptualHash(image.view()).value(); }
uint64_t HashOf(const std::string& file) {
  std::optional<uint64_t> hash;
  PixelOptions options;
  EXPECT_TRUE(LoadPixels(file, options, &hash).ok());
  return hash.value_or(0);
}

TEST(PerceptualHashTest, ResizedAndRecompressedPicturesStayWithinFourBits) {
  for (int seed = 0; seed < 20; ++seed) {
    const RgbImage image = Blobs(seed, 640, 480);
    const uint64_t hash = HashOf(image);
    for (const auto& [width, height] : {std::pair(320, 240), {97, 73}, {640, 360}}) {
      const RgbImage resized =
          ResizeWindow(image.view(), width, height, Resample::kLanczos, {0, 0, width, height});
      EXPECT_LE(Bits(HashOf(resized), hash), 4) << seed << " " << width;
    }
    EXPECT_LE(Bits(HashOf(MakeJpeg(image, {.quality = 30})), hash), 4) << seed;
  }
}

TEST(PerceptualHashTest, SmallCropsStayNearAndOtherPicturesFar) {
  uint64_t before = HashOf(Blobs(99, 640, 480));
  int near = 0;
  for (int seed = 0; seed < 20; ++seed) {
    const RgbImage image = Blobs(seed, 640, 480);
    const uint64_t hash = HashOf(image);
    RgbView crop = image.view();
    crop = {crop.row(6) + 3 * 10, 620, 468, crop.stride};
    near += Bits(PerceptualHash(crop).value(), hash) <= 12;
    EXPECT_GT(Bits(hash, before), 12) << seed;
    before = hash;
  }
  EXPECT_GE(near, 19);
}

TEST(PerceptualHashTest, IsOfTheUprightWholePicture) {
  const RgbImage image = Blobs(3, 320, 200);
  const uint64_t upright = HashOf(MakeJpeg(image));
  // Orientation 3 is a half turn: the file's pixels turned, its hash as before.
  RgbImage turned(image.width, image.height);
  for (int y = 0; y < image.height; ++y) {
    for (int x = 0; x < image.width; ++x) {
      for (int c = 0; c < 3; ++c) {
        turned.row(y)[3 * x + c] =
            image.view().row(image.height - 1 - y)[3 * (image.width - 1 - x) + c];
      }
    }
  }
  EXPECT_LE(Bits(HashOf(MakeJpeg(turned, {.app1 = {Exif(3)}})), upright), 2);
  EXPECT_GT(Bits(HashOf(MakeJpeg(turned)), upright), 12);
  // A crop box is for the vector alone.
  std::optional<uint64_t> hash;
  PixelOptions options;
  options.crop = CropBox{0.5f, 0.5f, 1, 1};
  ASSERT_TRUE(LoadPixels(MakePng(image), options, &hash).ok());
  EXPECT_EQ(hash, HashOf(MakePng(image)));
}

TEST(PerceptualHashTest, APictureOfOneColourHasNone) {
  RgbImage image(50, 40);
  std::fill(image.data.begin(), image.data.end(), 200);
  EXPECT_FALSE(PerceptualHash(image.view()).has_value());
  image.row(20)[60] = 201;
  EXPECT_FALSE(PerceptualHash(image.view()).has_value());
}

TEST(PerceptualHashTest, SmallPicturesHaveOne) {
  for (const auto& [width, height] : {std::pair(2, 2), {31, 33}}) {
    EXPECT_TRUE(PerceptualHash(Blobs(1, width, height).view()).has_value()) << width;
  }
}

TEST(PerceptualHashTest, WhatVariesAlongOneSideOnlyHasNone) {
  for (const auto& [width, height] : {std::pair(1, 64), {64, 1}}) {
    EXPECT_FALSE(PerceptualHash(Blobs(1, width, height).view()).has_value()) << width;
  }
}

TEST(ThumbnailTest, HasTheWholePictureWithinTheSide) {
  for (const auto& [width, height] : {std::pair(800, 200), {200, 800}, {300, 300}}) {
    auto made = LoadThumbnail(MakeJpeg(Gradient(width, height)), 100, ImageLimits());
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(std::max(made->width, made->height), 100);
    EXPECT_NEAR(double{1} * made->width / made->height, double{1} * width / height, 0.05);
  }
  auto small = LoadThumbnail(MakePng(Gradient(40, 30)), 100, ImageLimits());
  ASSERT_TRUE(small.ok());
  EXPECT_EQ(small->width, 40);
  EXPECT_FALSE(LoadThumbnail("no image", 100, ImageLimits()).ok());
}

}  // namespace
}  // namespace imagesearch::encoder
