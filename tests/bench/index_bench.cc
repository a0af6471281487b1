// Index benchmark: build time, bytes per image, queries a second and recall of each kind, over
// CLIP-like vectors made here or raw files that the peers' script reads too (docs/benchmarks.md).
// A program and not a test: its figures depend on the machine.
#include <time.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "CLI/CLI.hpp"
#include "index/ann/parallel.h"
#include "index/ann/simd.h"
#include "tests/index/ann_data.h"

namespace imagesearch::index {
namespace {

using testing::ClipLikeData;
using testing::MemoryVectors;
using testing::Recall;

double Now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Processor time of this thread or of the whole process: what wall time would be on an idle
// machine.
double CpuSeconds(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

struct Flags {
  testing::ClipLikeOptions data;
  std::string kinds = "auto,hnsw,ivf,flat";
  std::string read, write, simd;
  int threads = 2;
  double seconds = 1.0;
  float target = 0;
  int m = 0, ef_construction = 0, lists = 0, pq_bytes = 0;
  uint64_t memory_bytes = 0;
  bool with_text_sample = true;
  bool filters = true;
  bool random_parameters = false;
};

std::vector<float> ReadRaw(const std::string& path) {
  std::ifstream in(path, std::ios::binary | std::ios::ate);
  if (!in) {
    std::fprintf(stderr, "cannot read %s\n", path.c_str());
    std::exit(1);
  }
  std::vector<float> values(static_cast<size_t>(in.tellg()) / sizeof(float));
  in.seekg(0);
  in.read(reinterpret_cast<char*>(values.data()),
          static_cast<std::streamsize>(values.size() * sizeof(float)));
  return values;
}

void WriteRaw(const std::string& path, const std::vector<float>& values) {
  std::ofstream out(path, std::ios::binary);
  out.write(reinterpret_cast<const char*>(values.data()),
            static_cast<std::streamsize>(values.size() * sizeof(float)));
}

struct Queries {
  std::vector<AnnQuery> queries;
  std::vector<std::vector<Neighbor>> truth;  // by a float32 scan
};

// The float32 scan, independent of the index under test: rows outermost, so that memory is read
// once.
void FindTruth(const VectorSource& vectors, int threads, Queries& q) {
  q.truth.resize(q.queries.size());
  const size_t d = static_cast<size_t>(vectors.dimension());
  ParallelFor(
      static_cast<uint32_t>(q.queries.size()), threads, 64, [&](uint32_t begin, uint32_t end) {
        for (uint32_t row = 0; row < vectors.rows(); ++row) {
          for (uint32_t i = begin; i < end; ++i) {
            const AnnQuery& query = q.queries[i];
            if (!query.mask.Allows(row)) continue;
            std::vector<Neighbor>& best = q.truth[i];
            const Neighbor candidate = {Simd().dot_f32(query.vector, vectors.Row(row), d), row};
            if (best.size() == static_cast<size_t>(query.k)) {
              if (!(candidate < best.back())) continue;
              best.pop_back();
            }
            best.insert(std::upper_bound(best.begin(), best.end(), candidate), candidate);
          }
        }
      });
}

struct Figures {
  double recall = 0, qps1 = 0, cpu_qps = 0, qps2 = 0, p50_ms = 0, p99_ms = 0;
};

Figures Measure(const AnnIndex& index, const Queries& q, double seconds, int threads) {
  Figures figures;
  for (size_t i = 0; i < q.queries.size(); ++i) {
    figures.recall += Recall(index.Search(q.queries[i]), q.truth[i]);
  }
  figures.recall /= static_cast<double>(q.queries.size());
  std::vector<double> times;
  const double cpu = CpuSeconds(CLOCK_THREAD_CPUTIME_ID);
  const double start = Now();
  for (size_t i = 0; Now() - start < seconds; ++i) {
    const double before = Now();
    index.Search(q.queries[i % q.queries.size()]);
    times.push_back(Now() - before);
  }
  figures.qps1 = static_cast<double>(times.size()) / (Now() - start);
  figures.cpu_qps = static_cast<double>(times.size()) / (CpuSeconds(CLOCK_THREAD_CPUTIME_ID) - cpu);
  std::sort(times.begin(), times.end());
  figures.p50_ms = 1e3 * times[times.size() / 2];
  figures.p99_ms = 1e3 * times[times.size() * 99 / 100];
  std::atomic<uint64_t> done{0};
  const double start2 = Now();
  std::vector<std::thread> workers;
  for (int t = 0; t < threads; ++t) {
    workers.emplace_back([&, t] {
      for (size_t i = static_cast<size_t>(t) * 37; Now() - start2 < seconds; ++i) {
        index.Search(q.queries[i % q.queries.size()]);
        ++done;
      }
    });
  }
  for (std::thread& worker : workers) worker.join();
  figures.qps2 = static_cast<double>(done) / (Now() - start2);
  return figures;
}

void Print(const char* kind, const std::string& what, const Figures& f) {
  std::printf(
      "%-5s %-22s recall@10 %.4f  QPS: 1 thread %7.0f (by CPU time %7.0f), all %7.0f  "
      "p50 %.3f ms  p99 %.3f ms\n",
      kind, what.c_str(), f.recall, f.qps1, f.cpu_qps, f.qps2, f.p50_ms, f.p99_ms);
  std::fflush(stdout);
}

const std::map<std::string, IndexKind> kKinds = {{"auto", IndexKind::kAuto},
                                                 {"flat", IndexKind::kFlat},
                                                 {"hnsw", IndexKind::kHnsw},
                                                 {"ivf", IndexKind::kIvf}};
const char* NameOf(IndexKind kind) {
  for (const auto& [name, value] : kKinds) {
    if (value == kind) return name.c_str();
  }
  return "?";
}

void RunKind(const Flags& flags, const std::string& name,
             const std::shared_ptr<const MemoryVectors>& vectors, const ClipLikeData& data,
             const std::vector<std::pair<std::string, Queries>>& sets) {
  AnnBuildOptions options;
  options.index.kind = kKinds.at(name);
  options.index.target_recall = flags.target;
  options.index.hnsw_m = flags.m;
  options.index.hnsw_ef_construction = flags.ef_construction;
  options.index.ivf_nlist = flags.lists;
  if (options.index.kind == IndexKind::kIvf) options.index.pq_bytes = flags.pq_bytes;
  if (options.index.kind == IndexKind::kAuto) options.index.memory_bytes = flags.memory_bytes;
  options.threads = flags.threads;
  if (flags.with_text_sample) options.text_sample = data.text_sample;
  const double cpu = CpuSeconds(CLOCK_PROCESS_CPUTIME_ID);
  const double start = Now();
  auto built = BuildAnnIndex(vectors, options);
  if (!built.ok()) {
    std::fprintf(stderr, "%s\n", std::string(built.status().message()).c_str());
    std::exit(1);
  }
  const AnnIndex& index = **built;
  const double build = Now() - start;
  const double build_cpu = CpuSeconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
  testing::StringSink sink;
  if (!index.Save(sink).ok()) std::exit(1);
  const double load_start = Now();
  testing::StringSource source(sink.bytes);
  if (!LoadAnnIndex(source, vectors).ok()) std::exit(1);
  std::printf(
      "%-5s serves as %s%s, built in %.1f s on %d threads (%.1f s of CPU time), loaded in %.2f s, "
      "%.0f bytes a row\n",
      name.c_str(), NameOf(index.kind()),
      index.pq_bytes() > 0 ? (" of " + std::to_string(index.pq_bytes()) + "-byte codes").c_str()
                           : "",
      build, flags.threads, build_cpu, Now() - load_start,
      static_cast<double>(index.memory_bytes()) / vectors->rows());
  for (const auto& [what, queries] : sets) {
    if (name == "flat" && what.rfind("text", 0) != 0) continue;
    Print(name.c_str(), what, Measure(index, queries, flags.seconds, flags.threads));
  }

  Queries exact = sets[0].second;
  exact.queries.resize(std::min<size_t>(exact.queries.size(), 200));
  exact.truth.resize(exact.queries.size());
  for (AnnQuery& query : exact.queries) query.exact = true;
  Print(name.c_str(), "exact, one by one", Measure(index, exact, flags.seconds, flags.threads));
  uint64_t done = 0;
  double recall = 0;
  const double batch_cpu = CpuSeconds(CLOCK_THREAD_CPUTIME_ID);
  const double batch_start = Now();
  while (Now() - batch_start < flags.seconds) {
    const auto found = index.SearchBatch(exact.queries);
    done += found.size();
    recall = 0;
    for (size_t i = 0; i < found.size(); ++i) recall += Recall(found[i], exact.truth[i]);
  }
  const double one = static_cast<double>(done) / (Now() - batch_start);
  const double one_cpu =
      static_cast<double>(done) / (CpuSeconds(CLOCK_THREAD_CPUTIME_ID) - batch_cpu);
  std::atomic<uint64_t> done_all{0};
  const double all_start = Now();
  std::vector<std::thread> workers;
  for (int t = 0; t < flags.threads; ++t) {
    workers.emplace_back([&] {
      while (Now() - all_start < flags.seconds) done_all += index.SearchBatch(exact.queries).size();
    });
  }
  for (std::thread& worker : workers) worker.join();
  std::printf("%-5s %-22s recall@10 %.4f  QPS: 1 thread %7.0f (by CPU time %7.0f), all %7.0f\n",
              name.c_str(), "exact, batches of 200",
              recall / static_cast<double>(exact.queries.size()), one, one_cpu,
              static_cast<double>(done_all) / (Now() - all_start));
}

// Data unlike those that anything here was tuned on; printed, so that a run can be repeated.
void DrawParameters(testing::ClipLikeOptions& data) {
  std::random_device device;
  std::mt19937 random(device());
  const auto draw = [&](float low, float high) {
    return std::uniform_real_distribution<float>(low, high)(random);
  };
  data.clusters = static_cast<uint32_t>(std::exp(draw(std::log(200.0f), std::log(8000.0f))));
  data.mean_part = draw(0.3f, 0.6f);
  data.cluster_part = draw(0.15f, 0.3f);
  data.spectrum = draw(0.2f, 0.5f);
  data.text_own = draw(0.1f, 0.25f);
  data.text_noise = draw(0.25f, 0.5f);
  data.seed = random();
  std::printf(
      "--clusters %u --mean-part %.4f --cluster-part %.4f --spectrum %.4f --text-own %.4f "
      "--text-noise %.4f --seed %llu\n",
      data.clusters, data.mean_part, data.cluster_part, data.spectrum, data.text_own,
      data.text_noise, static_cast<unsigned long long>(data.seed));
}

int Run(Flags flags) {
  if (!flags.simd.empty()) {
    for (SimdLevel level : AvailableSimdLevels()) {
      ForceSimdLevel(level);
      if (flags.simd == SimdLevelName()) break;
    }
  }
  ClipLikeData data;
  if (flags.random_parameters) DrawParameters(flags.data);
  if (flags.read.empty()) {
    data = testing::MakeClipLike(flags.data);
  } else {
    data.dimension = flags.data.dimension;
    data.images = ReadRaw(flags.read + "/base.f32");
    data.image_queries = ReadRaw(flags.read + "/image.f32");
    const std::vector<float> texts = ReadRaw(flags.read + "/text.f32");
    // Half to learn from, half to ask.
    const auto middle =
        texts.begin() + static_cast<ptrdiff_t>(texts.size() / 2 / data.dimension * data.dimension);
    data.text_queries.assign(texts.begin(), middle);
    data.text_sample.assign(middle, texts.end());
  }
  if (!flags.write.empty()) {
    WriteRaw(flags.write + "/base.f32", data.images);
    WriteRaw(flags.write + "/image.f32", data.image_queries);
    WriteRaw(flags.write + "/text.f32", data.text_queries);
  }
  const auto vectors = std::make_shared<MemoryVectors>(data.images, data.dimension);
  data.images = {};

  const uint32_t n = vectors->rows();
  std::vector<std::vector<uint64_t>> masks;
  masks.reserve(3);
  std::vector<std::pair<std::string, Queries>> sets(2);
  const auto add = [&](Queries& set, const std::vector<float>& values, size_t limit, QueryKind kind,
                       RowMask mask) {
    for (size_t i = 0; i < std::min(limit, values.size() / data.dimension); ++i) {
      AnnQuery query;
      query.vector = values.data() + i * data.dimension;
      query.kind = kind;
      query.mask = mask;
      set.queries.push_back(query);
    }
  };
  sets[0].first = "text";
  add(sets[0].second, data.text_queries, 500, QueryKind::kText, {});
  sets[1].first = "image";
  add(sets[1].second, data.image_queries, 500, QueryKind::kImage, {});
  if (flags.filters) {
    std::mt19937 random(7);
    for (uint32_t percent : {1u, 10u, 50u}) {
      masks.emplace_back((n + 63) / 64, 0);
      uint32_t count = 0;
      for (uint32_t row = 0; row < n; ++row) {
        if (random() % 100 >= percent) continue;
        masks.back()[row / 64] |= uint64_t{1} << (row % 64);
        ++count;
      }
      sets.push_back({"text, " + std::to_string(percent) + " % allowed", {}});
      add(sets.back().second, data.text_queries, 200, QueryKind::kText,
          {masks.back().data(), count});
      sets.push_back({"image, " + std::to_string(percent) + " % allowed", {}});
      add(sets.back().second, data.image_queries, 200, QueryKind::kImage,
          {masks.back().data(), count});
    }
  }
  for (auto& [what, queries] : sets) FindTruth(*vectors, flags.threads, queries);
  std::printf("%u rows of %d values, kernels %s\n", n, data.dimension, SimdLevelName());
  for (size_t at = 0; at < flags.kinds.size();) {
    const size_t comma = std::min(flags.kinds.find(',', at), flags.kinds.size());
    const std::string kind = flags.kinds.substr(at, comma - at);
    if (kKinds.count(kind) == 0) {
      std::fprintf(stderr, "no such kind: %s\n", kind.c_str());
      return 1;
    }
    RunKind(flags, kind, vectors, data, sets);
    at = comma + 1;
  }
  return 0;
}

}  // namespace
}  // namespace imagesearch::index

int main(int argc, char** argv) {
  imagesearch::index::Flags flags;
  flags.data.images = 100'000;
  flags.data.queries = 500;
  flags.data.dimension = 512;
  flags.data.clusters = 2000;
  CLI::App app{"Measures the nearest-neighbour index"};
  app.add_option("--rows", flags.data.images, "images");
  app.add_option("--queries", flags.data.queries, "queries of each kind");
  app.add_option("--dimension", flags.data.dimension, "values of a vector");
  app.add_option("--clusters", flags.data.clusters, "clusters of images");
  app.add_option("--mean-part", flags.data.mean_part, "squared length that all images share");
  app.add_option("--cluster-part", flags.data.cluster_part, "squared length that a cluster shares");
  app.add_option("--spectrum", flags.data.spectrum, "decay of the variance by direction");
  app.add_option("--text-own", flags.data.text_own, "a text's length towards its image");
  app.add_option("--text-noise", flags.data.text_noise, "squared length of a text's noise");
  app.add_option("--seed", flags.data.seed, "of the generator");
  app.add_flag("--random-parameters", flags.random_parameters,
               "draw the generator's parameters at run time, and print them");
  app.add_option("--kinds", flags.kinds, "comma-separated: auto, flat, hnsw, ivf");
  app.add_option("--read", flags.read, "folder with base.f32, image.f32, text.f32");
  app.add_option("--write", flags.write, "folder to write them to, for the peers");
  app.add_option("--simd", flags.simd, "highest kernel level: portable, avx2, avx512, avx512-vnni");
  app.add_option("--threads", flags.threads, "of builds and of the 'all' figures");
  app.add_option("--seconds", flags.seconds, "of each measurement");
  app.add_option("--target-recall", flags.target, "0: the default");
  app.add_option("--m", flags.m, "links of the graph; 0: the default");
  app.add_option("--ef-construction", flags.ef_construction, "0: the default");
  app.add_option("--lists", flags.lists, "0: chosen from the rows");
  app.add_option("--pq-bytes", flags.pq_bytes, "of ivf: product-quantised codes; 0: of 8 bits");
  app.add_option("--memory-bytes", flags.memory_bytes, "of auto: the budget; 0: none");
  app.add_option("--text-sample", flags.with_text_sample, "false: the index gets no texts");
  app.add_option("--filters", flags.filters, "false: leave filtered searches out");
  CLI11_PARSE(app, argc, argv);
  return imagesearch::index::Run(flags);
}
