// CPU time of what a search does after its nearest neighbours: relevance, diversity, words.
//
//   build/release/tests/bench/rank_bench
#include <algorithm>
#include <cmath>
#include <random>

#include "absl/strings/str_cat.h"
#include "benchmark/benchmark.h"
#include "index/keyword/keyword_index.h"
#include "index/rank/diversity.h"
#include "index/rank/relevance.h"

namespace imagesearch::index {
namespace {

std::vector<float> UnitRows(size_t rows, int dimension) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(rows * dimension);
  for (size_t row = 0; row < rows; ++row) {
    float* at = values.data() + row * dimension;
    double norm = 0;
    for (int d = 0; d < dimension; ++d) {
      at[d] = normal(random);
      norm += double{at[d]} * at[d];
    }
    for (int d = 0; d < dimension; ++d) at[d] /= static_cast<float>(std::sqrt(norm));
  }
  return values;
}

VectorSample SampleOfSize(int dimension) {
  VectorSample sample;
  sample.vectors = UnitRows(Background::kSample, dimension);
  sample.live = 100'000;
  return sample;
}

// What one search pays for relevance.
void BM_Relevance(benchmark::State& state) {
  const auto dimension = static_cast<int>(state.range(0));
  const Background background(SampleOfSize(dimension), dimension);
  const std::vector<float> query = UnitRows(1, dimension);
  for (auto _ : state) benchmark::DoNotOptimize(background.TailFor(query).Relevance(0.3f));
}
BENCHMARK(BM_Relevance)->Arg(384)->Arg(512)->Arg(768)->Unit(benchmark::kMicrosecond);

// What a new sample costs beside reading it.
void BM_NewBackground(benchmark::State& state) {
  const auto dimension = static_cast<int>(state.range(0));
  const VectorSample sample = SampleOfSize(dimension);
  for (auto _ : state) benchmark::DoNotOptimize(Background(sample, dimension).rows());
}
BENCHMARK(BM_NewBackground)->Arg(512)->Unit(benchmark::kMicrosecond);

// Reordering the whole pool.
void BM_Diversity(benchmark::State& state) {
  constexpr int kDimension = 512;
  const std::vector<float> rows = UnitRows(DiversityPass::kPool, kDimension);
  Ranking ranking;
  for (size_t i = 0; i < DiversityPass::kPool; ++i) {
    RankedHit hit;
    hit.order = hit.hit.score = 1 - 0.001f * static_cast<float>(i);
    hit.hit.vector.assign(rows.begin() + i * kDimension, rows.begin() + (i + 1) * kDimension);
    ranking.hits.push_back(std::move(hit));
  }
  DiversityPass pass(0.3f);
  for (auto _ : state) {
    Ranking copy = ranking;
    benchmark::DoNotOptimize(pass.Run(&copy).ok());
  }
}
BENCHMARK(BM_Diversity)->Unit(benchmark::kMicrosecond);

google::protobuf::Struct Metadata(uint32_t number) {
  google::protobuf::Struct metadata;
  auto& fields = *metadata.mutable_fields();
  fields["path"].set_string_value(
      absl::StrCat("/pictures/2024/holiday-", number % 97, "/IMG_", number, ".jpg"));
  fields["title"].set_string_value(absl::StrCat(
      "boat number ", number % 1009, number % 10 == 0 ? " on the sea" : " in a harbour"));
  return metadata;
}

// Filling the index of words, per image of about 13 words.
void BM_FillWords(benchmark::State& state) {
  KeywordIndex index;
  uint32_t slot = 0;
  for (auto _ : state) {
    index.Fill(slot, Metadata(slot));
    ++slot;
  }
  state.counters["bytes_each"] = static_cast<double>(index.memory_bytes()) / std::max(slot, 1u);
}
BENCHMARK(BM_FillWords)->Iterations(100'000)->Unit(benchmark::kMicrosecond);

// A query of one word that every image has and one that a thousandth has, over 100,000 images.
void BM_SearchWords(benchmark::State& state) {
  static KeywordIndex* const index = [] {
    auto* made = new KeywordIndex;
    for (uint32_t slot = 0; slot < 100'000; ++slot) made->Fill(slot, Metadata(slot));
    made->FinishFill();
    return made;
  }();
  const char* text = state.range(0) == 0 ? "503" : "boat 503";
  for (auto _ : state) benchmark::DoNotOptimize(index->Search(text, {}, nullptr, 1000).size());
}
BENCHMARK(BM_SearchWords)->Arg(0)->Arg(1)->Unit(benchmark::kMicrosecond);

}  // namespace
}  // namespace imagesearch::index

BENCHMARK_MAIN();
