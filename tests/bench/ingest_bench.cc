// Durable ingest of ready vectors through the embedded database, and what searches feel meanwhile.
// Usage: ingest_bench [ROWS] [DIMENSION] [WRITERS] [BATCH] [KIND: auto, flat, hnsw, ivf]
//                     [RATE: vectors a second, 0: as fast as it goes]
//                     [BEFORE: rows that are there already when the ingest begins]
// Data: CLIP-like clusters (docs/benchmarks.md). Prints one line per figure.
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <iostream>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "index/embedded_database.h"

namespace imagesearch::index {
namespace {

using Clock = std::chrono::steady_clock;

double Seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

// Processor time of this thread.
double ThreadMs() {
  timespec time;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return 1e3 * static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_nsec);
}

// Cluster centres around one common direction.
class Generator {
 public:
  Generator(int dimension, uint32_t seed) : dimension_(dimension), random_(seed) {
    std::mt19937 shared(1);
    std::normal_distribution<float> normal;
    centres_.resize(size_t{kClusters} * dimension);
    std::vector<float> mean(dimension);
    for (float& x : mean) x = normal(shared);
    for (int c = 0; c < kClusters; ++c) {
      for (int i = 0; i < dimension; ++i) {
        centres_[size_t(c) * dimension + i] = mean[i] + 0.8f * normal(shared);
      }
    }
  }
  std::vector<float> Next() {
    const size_t c = random_() % kClusters;
    std::vector<float> v(dimension_);
    for (int i = 0; i < dimension_; ++i) {
      v[i] = centres_[c * dimension_ + i] + 0.6f * normal_(random_);
    }
    return v;
  }

 private:
  static constexpr int kClusters = 2000;
  const int dimension_;
  std::mt19937 random_;
  std::normal_distribution<float> normal_;
  std::vector<float> centres_;
};

// What searches visit, on average over the samples.
struct Parts {
  uint64_t samples = 0, segments = 0, tail_rows = 0, most_tail_rows = 0;
  void Note(const CollectionInfo& info) {
    ++samples;
    segments += info.segments;
    tail_rows += info.tail_rows;
    most_tail_rows = std::max(most_tail_rows, info.tail_rows);
  }
};

struct Latency {
  Parts parts;
  std::vector<double> ms;
  std::vector<double> cpu_ms;  // of the searching thread: what an idle machine would take
  std::string Summary() {
    if (ms.empty()) return "no searches";
    std::sort(ms.begin(), ms.end());
    auto at = [&](double q) { return ms[static_cast<size_t>(q * (ms.size() - 1))]; };
    std::sort(cpu_ms.begin(), cpu_ms.end());
    auto cpu_at = [&](double q) { return cpu_ms[static_cast<size_t>(q * (cpu_ms.size() - 1))]; };
    return absl::StrCat(ms.size(), " searches, p50 ", at(0.5), " ms, p99 ", at(0.99),
                        " ms; CPU time p50 ", cpu_at(0.5), " ms, p99 ", cpu_at(0.99), " ms; ",
                        static_cast<double>(parts.segments) / std::max<uint64_t>(1, parts.samples),
                        " segments, ", parts.tail_rows / std::max<uint64_t>(1, parts.samples),
                        " rows in the tail, ", parts.most_tail_rows, " at most");
  }
};

Latency SearchUntil(Collection* collection, int dimension, const std::function<bool()>& stop) {
  Generator generator(dimension, 99);
  Latency latency;
  while (!stop()) {
    Query query;
    query.vector = generator.Next();
    const auto start = Clock::now();
    const double cpu_start = ThreadMs();
    if (!collection->Search(query).ok()) std::exit(3);
    latency.cpu_ms.push_back(ThreadMs() - cpu_start);
    latency.ms.push_back(Seconds(Clock::now() - start) * 1e3);
    if (latency.ms.size() % 20 == 0) latency.parts.Note(collection->Info());
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  return latency;
}

int Run(int argc, char** argv) {
  const int rows = argc > 1 ? std::atoi(argv[1]) : 50'000;
  const int dimension = argc > 2 ? std::atoi(argv[2]) : 512;
  const int writers = argc > 3 ? std::atoi(argv[3]) : 4;
  const int batch = argc > 4 ? std::atoi(argv[4]) : 64;
  const std::string kind = argc > 5 ? argv[5] : "hnsw";
  const double rate = argc > 6 ? std::atof(argv[6]) : 0;
  const int before = argc > 7 ? std::atoi(argv[7]) : 0;
  EmbeddedOptions options;
  options.data_dir =
      (std::filesystem::temp_directory_path() / absl::StrCat("ingest_bench_", getpid())).string();
  options.merge_tail_rows = 4096;  // the server's default
  auto opened = OpenEmbedded(options);
  if (!opened.ok()) {
    std::cerr << opened.status() << std::endl;
    return 1;
  }
  CollectionOptions collection_options;
  collection_options.name = "bench";
  collection_options.dimension = dimension;
  collection_options.index.kind = kind == "flat"   ? IndexKind::kFlat
                                  : kind == "hnsw" ? IndexKind::kHnsw
                                  : kind == "ivf"  ? IndexKind::kIvf
                                                   : IndexKind::kAuto;
  if (!(*opened)->CreateCollection(collection_options).ok()) return 1;
  auto collection = *(*opened)->GetCollection("bench");

  Generator generator(dimension, 5);
  const auto idle = [&](const char* when) {
    const auto end = Clock::now() + std::chrono::seconds(3);
    std::cout
        << when << ": "
        << SearchUntil(collection.get(), dimension, [&] { return Clock::now() > end; }).Summary()
        << std::endl;
  };
  std::vector<std::vector<UpsertItem>> batches;
  int made = 0;
  const auto add = [&](int count) {
    batches.clear();
    for (int i = 0; i < count; ++i, ++made) {
      if (i % batch == 0) batches.emplace_back();
      UpsertItem item;
      item.id = absl::StrCat("image-", made);
      item.vector = generator.Next();
      batches.back().push_back(std::move(item));
    }
  };
  add(before);
  for (auto& items : batches) {
    if (!collection->Upsert(std::move(items), {}).ok()) return 7;
  }
  if (before > 0) {
    if (!collection->Optimize().ok()) return 8;
    idle("idle before");
  }
  add(rows);
  std::atomic<size_t> next{0};
  std::atomic<int> running{writers};
  const auto start = Clock::now();
  std::vector<std::thread> threads;
  for (int w = 0; w < writers; ++w) {
    threads.emplace_back([&] {
      for (size_t b; (b = next.fetch_add(1)) < batches.size();) {
        if (rate > 0) {
          std::this_thread::sleep_until(
              start + std::chrono::duration_cast<Clock::duration>(
                          std::chrono::duration<double>(static_cast<double>(b) * batch / rate)));
        }
        if (!collection->Upsert(std::move(batches[b]), {}).ok()) std::exit(2);
      }
      running.fetch_sub(1);
    });
  }
  Latency busy = SearchUntil(collection.get(), dimension, [&] { return running.load() == 0; });
  for (std::thread& thread : threads) thread.join();
  const double seconds = Seconds(Clock::now() - start);
  std::cout << "ingest: " << rows / seconds << " vectors/s durable and searchable (" << rows
            << " x " << dimension << ", " << writers << " writers, batches of " << batch << ")\n"
            << "during ingest: " << busy.Summary() << std::endl;
  const auto optimise = Clock::now();
  if (!collection->Optimize().ok()) return 4;
  std::cout << "Optimize: " << Seconds(Clock::now() - optimise) << " s" << std::endl;
  idle("idle");
  const CollectionInfo info = collection->Info();
  std::cout << "memory: " << info.memory_bytes / made << " B/image, disk " << info.disk_bytes / made
            << " B/image" << std::endl;
  collection.reset();
  if (!(*opened)->Close(absl::InfiniteFuture()).ok()) return 5;
  opened->reset();
  const auto restart = Clock::now();
  opened = OpenEmbedded(options);
  if (!opened.ok()) return 6;
  std::cout << "restart: " << Seconds(Clock::now() - restart) << " s" << std::endl;
  opened->reset();
  std::filesystem::remove_all(options.data_dir);
  return 0;
}

}  // namespace
}  // namespace imagesearch::index

int main(int argc, char** argv) { return imagesearch::index::Run(argc, argv); }
