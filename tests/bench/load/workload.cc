// Makes pictures and texts from fixed seeds.
#include "tests/bench/load/workload.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "absl/strings/str_cat.h"
#include "client/picture/jpeg.h"
#include "encoder/image/image.h"

namespace imagesearch::bench {
namespace {

constexpr int kWidth = 640, kHeight = 480, kQuality = 88;
constexpr int kOctaves = 8;
constexpr float kSensorNoise = 4;
constexpr float kNoiseStep = 1.0f / 256;

using Plane = std::vector<float>;

// Adds noise on a grid of `cells` across the width, interpolated between grid points.
void AddNoise(int cells, float amplitude, std::mt19937& random, Plane& plane) {
  const int rows = cells * kHeight / kWidth + 2, columns = cells + 2;
  std::normal_distribution<float> normal(0, amplitude);
  Plane grid(static_cast<size_t>(rows) * columns);
  for (float& value : grid) value = normal(random);
  for (int y = 0; y < kHeight; ++y) {
    const float gy = static_cast<float>(y * cells) / kWidth;
    const int y0 = static_cast<int>(gy);
    for (int x = 0; x < kWidth; ++x) {
      const float gx = static_cast<float>(x * cells) / kWidth;
      const int x0 = static_cast<int>(gx);
      const float* corner = &grid[static_cast<size_t>(y0) * columns + x0];
      const float upper = std::lerp(corner[0], corner[1], gx - static_cast<float>(x0));
      const float lower =
          std::lerp(corner[columns], corner[columns + 1], gx - static_cast<float>(x0));
      plane[static_cast<size_t>(y) * kWidth + x] +=
          std::lerp(upper, lower, gy - static_cast<float>(y0));
    }
  }
}

void AddShapes(std::mt19937& random, Plane& plane) {
  std::normal_distribution<float> brightness(0, 35);
  for (int shape = 0; shape < 12; ++shape) {
    const int left = static_cast<int>(random() % kWidth),
              top = static_cast<int>(random() % kHeight);
    const int right = std::min<int>(left + 30 + static_cast<int>(random() % 180), kWidth);
    const int bottom = std::min<int>(top + 20 + static_cast<int>(random() % 140), kHeight);
    const float change = brightness(random);
    for (int y = top; y < bottom; ++y) {
      for (int x = left; x < right; ++x) plane[static_cast<size_t>(y) * kWidth + x] += change;
    }
  }
}

std::string MakePhoto(std::mt19937& random) {
  Plane luma(static_cast<size_t>(kWidth) * kHeight, 128);
  Plane red(luma.size(), 0), blue(luma.size(), 0);
  for (int octave = 1; octave <= kOctaves; ++octave) {
    AddNoise(2 << octave, 60 / std::pow(static_cast<float>(octave), 1.5f), random, luma);
    if (octave > 4) continue;
    AddNoise(2 << octave, 22 / std::pow(static_cast<float>(octave), 1.5f), random, red);
    AddNoise(2 << octave, 22 / std::pow(static_cast<float>(octave), 1.5f), random, blue);
  }
  AddShapes(random, luma);
  encoder::RgbImage image(kWidth, kHeight);
  for (size_t i = 0; i < luma.size(); ++i) {
    // Near enough to normal: the sum of two uniform values.
    const float noise =
        kSensorNoise * (static_cast<float>(random() % 256 + random() % 256) * kNoiseStep - 1);
    const float values[] = {luma[i] + red[i] + noise, luma[i] - (red[i] + blue[i]) / 2 + noise,
                            luma[i] + blue[i] + noise};
    for (int channel = 0; channel < 3; ++channel) {
      image.data[3 * i + channel] = static_cast<uint8_t>(std::clamp(values[channel], 0.0f, 255.0f));
    }
  }
  return client::WriteJpeg(image, kQuality);
}

}  // namespace

std::vector<std::string> MakePhotos(int count) {
  std::mt19937 random(20261124);
  std::vector<std::string> photos;
  for (int i = 0; i < count; ++i) photos.push_back(MakePhoto(random));
  return photos;
}

std::string Numbered(const std::string& photo, uint64_t number) {
  return absl::StrCat(photo, "#", number);
}

std::string MakeText(uint64_t number) {
  static constexpr const char* kWords[] = {"red",   "dog",  "cat",   "car",   "tree", "house",
                                           "night", "man",  "beach", "river", "food", "boat",
                                           "grass", "snow", "light", "bird"};
  std::string text = "a photo of the old";
  for (int i = 0; i < 13; ++i, number /= 16) {
    absl::StrAppend(&text, " ", kWords[(number + static_cast<uint64_t>(i)) % 16]);
  }
  return text;
}

}  // namespace imagesearch::bench
