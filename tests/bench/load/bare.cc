// Encoder::Prepare and Encoder::Embed in turn.
#include "tests/bench/load/bare.h"

#include <algorithm>
#include <chrono>
#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include "encoder/clip/clip_encoder.h"
#include "tests/bench/load/drive.h"
#include "tests/bench/load/workload.h"

namespace imagesearch::bench {
namespace {

using encoder::Encoder;
using encoder::Input;
using encoder::Prepared;
using Clock = std::chrono::steady_clock;
using MakeInput = std::function<Input(uint64_t)>;

constexpr int kImageBatch = 8, kTextBatch = 16, kSingles = 30;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::vector<Prepared> PrepareBatch(const Encoder& encoder, const MakeInput& input, uint64_t first,
                                   int count, int threads) {
  std::vector<Prepared> batch(count);
  const auto part = [&](int thread) {
    for (int i = thread; i < count; i += threads) {
      batch[i] = encoder.Prepare(input(first + i)).value();
    }
  };
  std::vector<std::thread> others;
  for (int thread = 1; thread < threads; ++thread) others.emplace_back(part, thread);
  part(0);
  for (std::thread& other : others) other.join();
  return batch;
}

double Rate(Encoder& encoder, const MakeInput& input, int batch_size, int threads, double seconds) {
  const auto start = Clock::now();
  uint64_t done = 0;
  while (done == 0 || SecondsSince(start) < seconds) {
    const std::vector<Prepared> batch = PrepareBatch(encoder, input, done, batch_size, threads);
    std::vector<const Prepared*> pointers;
    for (const Prepared& item : batch) pointers.push_back(&item);
    encoder.Embed(pointers);
    done += batch_size;
  }
  return static_cast<double>(done) / SecondsSince(start);
}

double MedianMs(const std::function<void(int)>& run) {
  std::vector<double> times;
  for (int i = 0; i < kSingles; ++i) {
    const auto start = Clock::now();
    run(i);
    times.push_back(1e3 * SecondsSince(start));
  }
  std::sort(times.begin(), times.end());
  return Percentile(times, 0.5);
}

}  // namespace

absl::StatusOr<BareFigures> MeasureBare(const BareOptions& options,
                                        const std::vector<std::string>& photos) {
  encoder::ClipOptions clip;
  clip.model_dir = options.model_dir;
  clip.threads = options.threads;
  absl::StatusOr<encoder::Precision> precision = encoder::ParsePrecision(options.precision);
  if (!precision.ok()) return precision.status();
  clip.precision = *precision;
  absl::StatusOr<std::unique_ptr<Encoder>> opened = encoder::OpenClip(clip);
  if (!opened.ok()) return opened.status();
  Encoder& encoder = **opened;

  const auto photo = [&photos](uint64_t number) {
    return Input::Image(Numbered(photos[number % photos.size()], number));
  };
  const auto text = [](uint64_t number) { return Input::Text(MakeText(number)); };
  const auto first_photo = encoder.Prepare(photo(0));
  if (!first_photo.ok()) return first_photo.status();

  BareFigures figures;
  figures.precision = encoder.model().precision;
  Rate(encoder, photo, kImageBatch, options.threads, options.seconds / 5);  // warms up
  figures.images_per_second = Rate(encoder, photo, kImageBatch, options.threads, options.seconds);
  figures.texts_per_second = Rate(encoder, text, kTextBatch, 1, options.seconds);
  figures.single_image_ms = MedianMs([&](int) { encoder.Embed({&*first_photo}); });
  figures.single_text_ms = MedianMs([&](int i) {
    const Prepared prepared = encoder.Prepare(text(i)).value();
    figures.tokens += static_cast<double>(prepared.tokens.size()) / kSingles;
    encoder.Embed({&prepared});
  });
  return figures;
}

}  // namespace imagesearch::bench
