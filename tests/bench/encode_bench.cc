// The bare encoder's speed: images and texts by precision and batch, beside what the cores' peak
// (register-only loops, measured in the same run) would allow.
// Usage: encode_bench [--model DIR] [--threads N] [--precisions fp32,bf16,int8]
//                     [--kernels best|avx512_vnni|avx512|none] [--image_gflop F] [Google
//                     Benchmark's flags]
// DIR defaults to the shipped model. --image_gflop: an image's multiply-adds times two, in 1e9
// (8.8 for ViT-B/32, 0.81 for EfficientNet-Lite0): gives the share of the peak. With --threads 1
// times are CPU time, which other processes disturb less.
#include <benchmark/benchmark.h>

#include <cstdlib>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "encoder/clip/clip_encoder.h"
#include "tests/bench/peak.h"

namespace imagesearch::encoder {
namespace {

struct Settings {
  std::string model = "encoder/models/imagesearch-lite-v1";
  std::string precisions = "fp32,bf16,int8";
  std::string kernels = "best";
  int threads = 2;
  double image_gflop = 0;
};

// `count` inputs of one kind: pictures of noise, or texts of `tokens` tokens.
std::vector<Prepared> MakeInputs(const Encoder& encoder, int count, int tokens) {
  std::vector<Prepared> inputs(count);
  uint32_t random = 1;
  for (Prepared& input : inputs) {
    if (tokens == 0) {
      input.kind = Input::Kind::kImage;
      input.pixels.resize(size_t{3} * encoder.model().image_size * encoder.model().image_size);
      for (uint8_t& value : input.pixels) {
        random = random * 1664525 + 1013904223;
        value = static_cast<uint8_t>(random >> 24);
      }
    } else {
      const Prepared text = encoder.Prepare(Input::Text("cat")).value();
      input.tokens.assign(tokens, 300);
      input.tokens.front() = text.tokens.front();
      input.tokens.back() = text.tokens.back();
    }
  }
  return inputs;
}

void Run(benchmark::State& state, std::shared_ptr<Encoder> encoder, int batch, int tokens,
         const Settings& settings) {
  const std::vector<Prepared> inputs = MakeInputs(*encoder, batch, tokens);
  std::vector<const Prepared*> pointers;
  for (const Prepared& input : inputs) pointers.push_back(&input);
  encoder->Embed(pointers);
  for (auto _ : state) {
    const auto results = encoder->Embed(pointers);
    if (!results[0].ok()) state.SkipWithError(std::string(results[0].status().message()).c_str());
  }
  state.SetItemsProcessed(state.iterations() * batch);
  state.counters["ms_per_item"] = benchmark::Counter(
      1e-3 * batch, benchmark::Counter::kIsIterationInvariantRate | benchmark::Counter::kInvert);
  const double peak = PeakRate(encoder->model().precision, settings.threads);
  if (tokens == 0 && settings.image_gflop > 0 && peak > 0) {
    state.counters["of_peak"] = benchmark::Counter(batch * settings.image_gflop * 1e9 / peak,
                                                   benchmark::Counter::kIsIterationInvariantRate);
  }
}

int Main(int argc, char** argv) {
  Settings settings;
  std::vector<char*> rest;
  for (int i = 0; i < argc; ++i) {
    const auto value = [&] { return i + 1 < argc ? argv[++i] : argv[0]; };
    const std::string arg = argv[i];
    if (arg == "--model") {
      settings.model = value();
    } else if (arg == "--threads") {
      settings.threads = std::max(1, std::atoi(value()));
    } else if (arg == "--precisions") {
      settings.precisions = value();
    } else if (arg == "--kernels") {
      settings.kernels = value();
    } else if (arg == "--image_gflop") {
      settings.image_gflop = std::atof(value());
    } else {
      rest.push_back(argv[i]);
    }
  }
  int rest_count = static_cast<int>(rest.size());
  benchmark::Initialize(&rest_count, rest.data());
  if (benchmark::ReportUnrecognizedArguments(rest_count, rest.data())) return 2;

  const std::vector<std::string> precisions = absl::StrSplit(settings.precisions, ',');
  for (const std::string& precision : precisions) {
    ClipOptions options;
    options.model_dir = settings.model;
    options.threads = settings.threads;
    const absl::StatusOr<Precision> parsed = ParsePrecision(precision);
    if (!parsed.ok()) {
      std::cerr << parsed.status() << "\n";
      return 2;
    }
    options.precision = *parsed;
    const absl::StatusOr<CpuKernels> kernels = ParseCpuKernels(settings.kernels);
    if (!kernels.ok()) {
      std::cerr << kernels.status() << "\n";
      return 2;
    }
    options.kernels = *kernels;
    absl::StatusOr<std::unique_ptr<Encoder>> opened = OpenClip(options);
    if (!opened.ok()) {
      std::cerr << precision << ": " << opened.status() << "\n";
      continue;
    }
    const std::shared_ptr<Encoder> encoder = *std::move(opened);
    std::cout << precision << ": peak of " << settings.threads << " threads "
              << PeakRate(precision, settings.threads) / 1e9 << " Gop/s\n";
    const auto add = [&](const std::string& name, int batch, int tokens) {
      auto* bench = benchmark::RegisterBenchmark(name.c_str(), [=](benchmark::State& state) {
        Run(state, encoder, batch, tokens, settings);
      });
      bench->Unit(benchmark::kMillisecond);
      if (settings.threads > 1) bench->UseRealTime();
    };
    for (const int batch : {1, 8, 32})
      add(absl::StrCat("image/", precision, "/batch:", batch), batch, 0);
    for (const int batch : {1, 8}) {
      for (const int tokens : {8, 20, 77}) {
        if (tokens > encoder->model().context_length) continue;
        add(absl::StrCat("text/", precision, "/tokens:", tokens, "/batch:", batch), batch, tokens);
      }
    }
  }
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}

}  // namespace
}  // namespace imagesearch::encoder

int main(int argc, char** argv) { return imagesearch::encoder::Main(argc, argv); }
