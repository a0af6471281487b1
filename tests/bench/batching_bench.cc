// What batching across callers costs and gives, in process: the served rate beside the bare
// encoder's, and the latency of interactive texts beside a saturating bulk stream.
// Usage: batching_bench MODEL_DIR JPEG... [--seconds=5] [--precision=auto]
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <fstream>
#include <functional>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/mutex.h"
#include "encoder/batching_encoder.h"
#include "encoder/clip/clip_encoder.h"

namespace imagesearch::encoder {
namespace {

using Clock = std::chrono::steady_clock;

double Since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double Percentile(std::vector<double> values, double p) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<size_t>(p * static_cast<double>(values.size() - 1))];
}

// Different bytes each time, so that nothing is shared: a number behind the image's end.
Input Numbered(const std::vector<std::string>& images, uint64_t number) {
  return Input::Image(absl::StrCat(images[number % images.size()], number));
}

// Keeps `outstanding` requests in flight for a while. Returns answers a second.
double ServedRate(Encoder& encoder, int outstanding, double seconds, EncodeOptions options,
                  const std::function<Input(uint64_t)>& input) {
  Mutex mutex;
  CondVar answered;
  int in_flight = 0;  // guarded by mutex
  uint64_t done = 0;  // guarded by mutex
  const auto start = Clock::now();
  for (uint64_t number = 0; Since(start) < seconds; ++number) {
    {
      MutexLock lock(&mutex);
      while (in_flight >= outstanding) answered.Wait(&mutex);
      ++in_flight;
    }
    encoder.EncodeAsync(input(number), options, [&](absl::StatusOr<Embedding> result) {
      MutexLock lock(&mutex);
      --in_flight;
      done += result.ok();
      answered.SignalAll();
    });
  }
  MutexLock lock(&mutex);
  while (in_flight > 0) answered.Wait(&mutex);
  return static_cast<double>(done) / Since(start);
}

// The encoder's own rate over decode and towers, with batches of 8 on one thread.
double BareRate(Encoder& encoder, const std::vector<std::string>& images, double seconds) {
  constexpr uint64_t kBatch = 8;
  const auto start = Clock::now();
  uint64_t done = 0;
  while (Since(start) < seconds) {
    std::vector<Prepared> prepared;
    for (uint64_t i = 0; i < kBatch; ++i) {
      prepared.push_back(*encoder.Prepare(Numbered(images, done + i)));
    }
    std::vector<const Prepared*> batch;
    for (const Prepared& item : prepared) batch.push_back(&item);
    encoder.Embed(batch);
    done += kBatch;
  }
  return static_cast<double>(done) / Since(start);
}

// Latencies in ms of ten interactive texts a second.
std::vector<double> TextLatencies(Encoder& encoder, double seconds) {
  std::vector<double> latencies;
  const auto start = Clock::now();
  for (int i = 0; Since(start) < seconds; ++i) {
    const auto sent = Clock::now();
    encoder.Encode({Input::Text(absl::StrCat("a photo of ", i, " dogs on a beach at sunset"))}, {});
    latencies.push_back(1e3 * Since(sent));
    std::this_thread::sleep_until(start + std::chrono::milliseconds(100 * (i + 1)));
  }
  return latencies;
}

int Main(int argc, char** argv) {
  double seconds = 5;
  std::string precision = "auto";
  std::vector<std::string> paths;
  for (int i = 1; i < argc; ++i) {
    const absl::string_view arg = argv[i];
    if (absl::StartsWith(arg, "--seconds=")) {
      if (!absl::SimpleAtod(arg.substr(10), &seconds)) return 2;
    } else if (absl::StartsWith(arg, "--precision=")) {
      precision = std::string(arg.substr(12));
    } else {
      paths.emplace_back(arg);
    }
  }
  if (paths.size() < 2) {
    std::cerr << "usage: batching_bench MODEL_DIR JPEG... [--seconds=5] [--precision=auto]\n";
    return 2;
  }
  std::vector<std::string> images;
  for (size_t i = 1; i < paths.size(); ++i) {
    std::ifstream in(paths[i], std::ios::binary);
    images.emplace_back(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
  }
  ClipOptions options;
  options.model_dir = paths[0];
  const auto parsed = ParsePrecision(precision);
  if (!parsed.ok()) return 2;
  options.precision = *parsed;
  auto clip = OpenClip(options);
  if (!clip.ok()) {
    std::cerr << clip.status() << "\n";
    return 1;
  }
  Encoder& bare = **clip;
  for (const std::string& image : images) {
    if (auto ready = bare.Prepare(Input::Image(image)); !ready.ok()) {
      std::cerr << ready.status() << "\n";
      return 1;
    }
  }
  BareRate(bare, images, 1);  // warms up
  const double bare_rate = BareRate(bare, images, seconds);
  std::vector<double> singles;
  const Prepared one = *bare.Prepare(Input::Image(images[0]));
  for (int i = 0; i < 10; ++i) {
    const auto start = Clock::now();
    bare.Embed({&one});
    singles.push_back(1e3 * Since(start));
  }
  const double single = Percentile(singles, 0.5);

  const auto encoder = MakeBatchingEncoder(*std::move(clip), {});
  EncodeOptions bulk;
  bulk.priority = Priority::kBulk;
  bulk.wait_for_room = true;
  const auto image = [&images](uint64_t number) { return Numbered(images, number); };
  const double served = ServedRate(*encoder, 32, seconds, {}, image);
  std::printf("images: bare %.1f /s, served %.1f /s (%.2f), one image %.1f ms\n", bare_rate, served,
              served / bare_rate, single);
  std::printf("texts: served %.1f /s\n", ServedRate(*encoder, 32, seconds, {}, [](uint64_t number) {
                return Input::Text(absl::StrCat("a drawing of ", number, " cats under a tree"));
              }));
  const double bulk_alone = ServedRate(*encoder, 200, seconds, bulk, image);
  double bulk_beside = 0;
  std::vector<double> latencies;
  std::thread stream([&] {
    bulk_beside =
        ServedRate(*encoder, 200, seconds, bulk, [&](uint64_t n) { return image(n + 1'000'000); });
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(500));
  latencies = TextLatencies(*encoder, seconds - 1);
  stream.join();
  std::printf(
      "10 texts/s beside bulk: p50 %.1f ms, p99 %.1f ms (8 single images: %.1f ms); bulk %.1f "
      "of %.1f images/s (%.2f)\n",
      Percentile(latencies, 0.5), Percentile(latencies, 0.99), 8 * single, bulk_beside, bulk_alone,
      bulk_beside / bulk_alone);
  const BatchingStats stats = encoder->stats();
  std::printf("mean batch: %.1f images, %.1f texts\n",
              static_cast<double>(stats.batched_images) /
                  std::max<double>(1, static_cast<double>(stats.image_batches)),
              static_cast<double>(stats.batched_texts) /
                  std::max<double>(1, static_cast<double>(stats.text_batches)));
  return 0;
}

}  // namespace
}  // namespace imagesearch::encoder

int main(int argc, char** argv) { return imagesearch::encoder::Main(argc, argv); }
