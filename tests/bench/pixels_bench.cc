// CPU time of making one image ready for a tower (decode, turn, resize, crop, normalise) on one
// thread. Usage: pixels_bench [benchmark flags] IMAGE...; tests/bench/pixels_peers.py measures
// Pillow and numpy on the same files and prints the ratios.
#include <benchmark/benchmark.h>

#include <cstdint>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <vector>

#include "encoder/image/preprocess.h"

namespace {

using imagesearch::encoder::PixelOptions;

void Ready(benchmark::State& state, const std::string& bytes, bool scaled) {
  PixelOptions options;
  options.scaled_jpeg_decode = scaled;
  constexpr float kMean[] = {0.48145466f, 0.4578275f, 0.40821073f};
  constexpr float kStd[] = {0.26862954f, 0.26130258f, 0.27577711f};
  std::vector<float> tensor(static_cast<size_t>(3 * options.crop_size * options.crop_size));
  for (auto _ : state) {
    const auto pixels = imagesearch::encoder::LoadPixels(bytes, options);
    if (!pixels.ok()) {
      state.SkipWithError(pixels.status().ToString().c_str());
      return;
    }
    const size_t plane = tensor.size() / 3;
    for (size_t c = 0; c < 3; ++c) {
      const float scale = 1 / (255 * kStd[c]), offset = -kMean[c] / kStd[c];
      for (size_t i = 0; i < plane; ++i) {
        tensor[c * plane + i] = static_cast<float>((*pixels)[3 * i + c]) * scale + offset;
      }
    }
    benchmark::DoNotOptimize(tensor.data());
  }
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (argc < 2) {
    std::cerr << "usage: pixels_bench [benchmark flags] IMAGE...\n";
    return 2;
  }
  for (int i = 1; i < argc; ++i) {
    std::ifstream in(argv[i], std::ios::binary);
    const std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    for (bool scaled : {false, true}) {
      const std::string name = std::string(scaled ? "scaled/" : "full/") + argv[i];
      benchmark::RegisterBenchmark(name.c_str(), [bytes, scaled](benchmark::State& state) {
        Ready(state, bytes, scaled);
      })->Unit(benchmark::kMillisecond);
    }
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
