// Resizing: windows, constants, and goldens from Pillow 13.
#include "encoder/image/resize.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <vector>

#include "tests/encoder/image/made_images.h"

namespace imagesearch::encoder {
namespace {

RgbImage Noise(int width, int height) {
  RgbImage image(width, height);
  std::mt19937 random(5);
  for (uint8_t& value : image.data) value = static_cast<uint8_t>(random());
  return image;
}

RgbImage Whole(const RgbImage& image, int width, int height, Resample resample) {
  return ResizeWindow(image.view(), width, height, resample, {0, 0, width, height});
}

constexpr Resample kAll[] = {Resample::kNearest, Resample::kLanczos, Resample::kBilinear,
                             Resample::kBicubic, Resample::kBox,     Resample::kHamming};

TEST(ResizeTest, AWindowIsThatPartOfTheWhole) {
  const RgbImage image = Noise(53, 37);
  for (Resample resample : kAll) {
    for (const auto& [width, height] :
         {std::pair(20, 15), std::pair(90, 70), std::pair(20, 70), std::pair(90, 20),
          std::pair(53, 20), std::pair(20, 37), std::pair(53, 37), std::pair(50, 20)}) {
      const RgbImage whole = Whole(image, width, height, resample);
      const Rect window = {width / 4, height / 3, width / 2, height / 2};
      const RgbImage part = ResizeWindow(image.view(), width, height, resample, window);
      for (int y = 0; y < window.height; ++y) {
        const uint8_t* from = whole.view().row(window.top + y) + 3 * window.left;
        EXPECT_EQ(std::vector<uint8_t>(from, from + 3 * window.width),
                  std::vector<uint8_t>(part.view().row(y), part.view().row(y) + 3 * window.width))
            << static_cast<int>(resample) << " " << width << "x" << height << " row " << y;
      }
    }
  }
}

TEST(ResizeTest, AConstantImageStaysConstant) {
  RgbImage image(31, 17);
  for (int value : {0, 1, 127, 254, 255}) {
    std::fill(image.data.begin(), image.data.end(), static_cast<uint8_t>(value));
    for (Resample resample : kAll) {
      EXPECT_THAT(Whole(image, 13, 29, resample).data, ::testing::Each(value));
    }
  }
}

TEST(ResizeTest, TheSameSizeIsACopy) {
  const RgbImage image = Noise(12, 9);
  for (Resample resample : kAll) EXPECT_EQ(Whole(image, 12, 9, resample).data, image.data);
}

TEST(ResizeTest, APartOfALargerImageIsResizedAsIfItWereAlone) {
  const RgbImage image = Noise(40, 30);
  RgbImage alone(20, 10);
  for (int y = 0; y < 10; ++y) {
    const uint8_t* from = image.view().row(5 + y) + 3 * 7;
    std::copy(from, from + 60, alone.row(y));
  }
  const RgbView part = {image.view().row(5) + 3 * 7, 20, 10, image.view().stride};
  EXPECT_EQ(ResizeWindow(part, 9, 6, Resample::kBicubic, {0, 0, 9, 6}).data,
            Whole(alone, 9, 6, Resample::kBicubic).data);
}

// Image.fromarray of ((x * 37 + y * 91 + c * 53) % 256), resized by Pillow 13.0.0: the red channel.
RgbImage Pattern(int width, int height) {
  RgbImage image(width, height);
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      for (int c = 0; c < 3; ++c) {
        image.row(y)[3 * x + c] = static_cast<uint8_t>((x * 37 + y * 91 + c * 53) % 256);
      }
    }
  }
  return image;
}

std::vector<int> Red(const RgbImage& image) {
  std::vector<int> red;
  for (size_t i = 0; i < image.data.size(); i += 3) red.push_back(image.data[i]);
  return red;
}

TEST(ResizeTest, GivesPillowsBytes) {
  EXPECT_THAT(Red(Whole(Pattern(7, 5), 3, 4, Resample::kBicubic)),
              ::testing::ElementsAre(42, 136, 170, 146, 135, 84, 89, 85, 185, 119, 146, 76));
  EXPECT_THAT(Red(Whole(Pattern(7, 5), 3, 4, Resample::kLanczos)),
              ::testing::ElementsAre(34, 145, 173, 153, 135, 75, 86, 74, 196, 117, 153, 74));
  EXPECT_THAT(Red(Whole(Pattern(7, 5), 3, 4, Resample::kBilinear)),
              ::testing::ElementsAre(55, 130, 163, 138, 131, 95, 95, 96, 169, 117, 140, 83));
  EXPECT_THAT(Red(Whole(Pattern(3, 3), 5, 4, Resample::kBicubic)),
              ::testing::ElementsAre(0, 6, 32, 58, 72, 49, 61, 88, 125, 146, 128, 147, 168, 132,
                                     112, 184, 210, 224, 74, 0));
  EXPECT_THAT(Red(Whole(Pattern(6, 9), 7, 3, Resample::kBicubic)),
              ::testing::ElementsAre(79, 112, 97, 103, 143, 155, 106, 107, 141, 111, 114, 119, 90,
                                     124, 135, 170, 130, 129, 131, 96, 131));
  EXPECT_THAT(Red(Whole(Pattern(9, 9), 8, 4, Resample::kBicubic)),
              ::testing::ElementsAre(77, 107, 105, 161, 135, 125, 89, 108, 102, 125, 98, 115, 108,
                                     158, 114, 132, 124, 144, 108, 116, 115, 102, 113, 164, 148,
                                     167, 130, 125, 102, 113, 140, 88));
  EXPECT_THAT(Red(Whole(Pattern(8, 8), 3, 3, Resample::kNearest)),
              ::testing::ElementsAre(128, 239, 57, 145, 0, 74, 71, 182, 0));
  EXPECT_THAT(Red(Whole(Pattern(8, 8), 3, 3, Resample::kBox)),
              ::testing::ElementsAre(100, 136, 114, 100, 129, 114, 128, 121, 114));
  EXPECT_THAT(Red(Whole(Pattern(8, 8), 3, 3, Resample::kHamming)),
              ::testing::ElementsAre(102, 143, 109, 112, 115, 128, 120, 132, 94));
}

}  // namespace
}  // namespace imagesearch::encoder
