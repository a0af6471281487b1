// The served rates, and texts beside bulk work.
#include "tests/bench/load/scenarios.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/status.h"
#include "client/uploader.h"
#include "tests/bench/load/workload.h"

namespace imagesearch::bench {
namespace {

constexpr int kClients = 32;
constexpr double kTextsPerSecond = 10;
constexpr char kCollection[] = "load";

absl::Status EncodeOne(const client::Client& client, const v1::EncodeRequest& request) {
  absl::StatusOr<v1::EncodeResponse> response = client.Encode(request);
  if (!response.ok()) return response.status();
  if (response->results_size() != 1) return absl::InternalError("not one result for one input");
  return client::FromItem(response->results(0).status());
}

// Upserts images until told to stop; counts what is acknowledged.
class BulkStream {
 public:
  BulkStream(Bench& bench, const client::Client* client)
      : uploader_(client, {.collection = kCollection},
                  [this](const client::Uploader::Outcome& done) {
                    ++(done.status.ok() ? acknowledged_ : failed_);
                  }) {
    feeder_ = std::thread([this, &bench, number = bench.TakeNumbers()]() mutable {
      while (!stop_) {
        v1::Image image;
        image.set_id(absl::StrCat("bulk-", ++number));
        image.set_content(Numbered(bench.photos[number % bench.photos.size()], number));
        if (!uploader_.Add(number, std::move(image)).ok()) break;
      }
    });
  }

  // Images a second over `seconds` from now, while `meanwhile` runs on this thread.
  template <typename Meanwhile>
  double Rate(double seconds, const Meanwhile& meanwhile) {
    const uint64_t before = acknowledged_;
    const auto start = std::chrono::steady_clock::now();
    meanwhile();
    std::this_thread::sleep_until(start + std::chrono::duration<double>(seconds));
    const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
    return static_cast<double>(acknowledged_ - before) / time.count();
  }

  // Ends the stream once all is acknowledged; whether nothing failed.
  bool Finish() {
    stop_ = true;
    feeder_.join();
    return uploader_.Finish().ok() && failed_ == 0;
  }

 private:
  std::atomic<uint64_t> acknowledged_{0}, failed_{0};
  std::atomic<bool> stop_{false};
  client::Uploader uploader_;
  std::thread feeder_;
};

}  // namespace

uint64_t Bench::TakeNumbers() {
  const uint64_t first = next_number;
  next_number += 10'000'000;
  return first;
}

Call Bench::EncodePhoto() {
  return [this](uint64_t number, int thread) {
    v1::EncodeRequest request;
    request.add_inputs()->set_image(Numbered(photos[number % photos.size()], number));
    return EncodeOne(*clients[thread % clients.size()], request);
  };
}

Call Bench::EncodeText() {
  return [this](uint64_t number, int thread) {
    v1::EncodeRequest request;
    request.add_inputs()->set_text(MakeText(number));
    return EncodeOne(*clients[thread % clients.size()], request);
  };
}

Outcome Bench::Closed(int threads, double seconds, const Call& call) {
  return DriveClosed(threads, seconds, TakeNumbers(), server->pid(), call);
}

void Bench::Describe(const Outcome& outcome, const std::string& unit) {
  report.Figure("rate", absl::StrCat(unit, " answered"), outcome.rate(), "/s");
  report.Figure("p50_ms", "p50 of those", Percentile(outcome.accepted_ms, 0.5), "ms");
  report.Figure("p99_ms", "p99 of those", Percentile(outcome.accepted_ms, 0.99), "ms");
  report.Figure("generator_cores", "cores that the generator took",
                outcome.cpu.generator / outcome.seconds);
  report.Figure("server_cores", "cores that the server took", outcome.cpu.server / outcome.seconds);
  report.Figure("other_cores", "cores that other processes took",
                outcome.cpu.others / outcome.seconds);
  report.Check(absl::StrCat("no call failed for another reason than load: ", outcome.first_failure),
               outcome.failed == 0);
  report.Check("something was answered", outcome.accepted() > 0);
}

Outcome ServeImages(Bench& bench) {
  bench.report.Heading("images", "640x480 JPEGs, 32 clients, one image a call");
  bench.Closed(kClients, bench.durations.rate / 5, bench.EncodePhoto());  // warms up
  const Outcome outcome = bench.Closed(kClients, bench.durations.rate, bench.EncodePhoto());
  bench.Describe(outcome, "images");
  bench.report.Check("32 callers are never refused", outcome.refused() == 0);
  const double share = outcome.rate() / bench.bare.images_per_second;
  // What the generator took from the cores, the server could not have.
  const double left = 1 - outcome.cpu.generator / (Cores() * outcome.seconds);
  bench.report.Figure("bare_rate", "the bare encoder, decode included",
                      bench.bare.images_per_second, "/s");
  bench.report.Figure("of_bare", "served / bare", share);
  bench.report.Figure("of_bare_net", "the same, net of the generator's cost", share / left);
  bench.report.AtLeast("images served / bare encoder, net of the generator", share / left, 0.90);
  return outcome;
}

void ServeTexts(Bench& bench) {
  bench.report.Heading("single_text", "texts one at a time, none cached");
  const Outcome single = bench.Closed(1, bench.durations.rate / 2, bench.EncodeText());
  bench.Describe(single, "texts");
  bench.report.Figure("tokens", "tokens of a text", bench.bare.tokens);
  bench.report.Figure("bare_p50_ms", "p50 in process", bench.bare.single_text_ms, "ms");
  bench.report.AtMost("one text in process, p50 ms", bench.bare.single_text_ms, 6);
  bench.report.AtMost("one text served, p50 ms", Percentile(single.accepted_ms, 0.5), 8);

  bench.report.Heading("texts", "texts, 32 clients, one text a call");
  const Outcome many = bench.Closed(kClients, bench.durations.rate, bench.EncodeText());
  bench.Describe(many, "texts");
  bench.report.Check("32 callers are never refused", many.refused() == 0);
  const double share = many.rate() / bench.bare.texts_per_second;
  const double left = 1 - many.cpu.generator / (Cores() * many.seconds);
  bench.report.Figure("bare_rate", "the bare encoder", bench.bare.texts_per_second, "/s");
  bench.report.Figure("of_bare", "served / bare", share);
  bench.report.Figure("of_bare_net", "the same, net of the generator's cost", share / left);
  bench.report.AtLeast("texts served / bare encoder, net of the generator", share / left, 0.90);
}

void TextsBesideBulk(Bench& bench) {
  bench.report.Heading("beside_bulk",
                       "10 text searches a second beside a saturating upsert stream");
  v1::CreateCollectionRequest create;
  create.mutable_collection()->set_name(kCollection);
  const bool made = bench.clients[0]->CreateCollection(create).ok();
  bench.report.Check("a collection can be made", made);

  const double seconds = bench.durations.beside;
  BulkStream stream(bench, bench.clients[0].get());
  stream.Rate(bench.durations.rate / 5, [] {});  // fills the window
  const double alone = stream.Rate(seconds, [] {});
  Outcome texts;
  const double beside = stream.Rate(seconds, [&] {
    texts = DriveOpen(
        kTextsPerSecond, kClients, seconds, bench.TakeNumbers(), bench.server->pid(),
        [&bench](uint64_t number, int thread) {
          v1::SearchRequest request;
          request.set_collection(kCollection);
          *request.mutable_query()->add_terms() = client::TextTerm(MakeText(number));
          return bench.clients[1 + thread % (bench.clients.size() - 1)]->Search(request).status();
        });
  });
  bench.report.Check("every image of the stream is stored", stream.Finish());
  bench.Describe(texts, "texts");
  const double p99 = Percentile(texts.accepted_ms, 0.99), bound = 8 * bench.bare.single_image_ms;
  bench.report.Figure("bound_ms", "eight single-image encodes", bound, "ms");
  bench.report.Figure("bulk_alone", "bulk images alone", alone, "/s");
  bench.report.Figure("bulk_beside", "bulk images meanwhile", beside, "/s");
  bench.report.Check("interactive texts are not refused", texts.refused() == 0);
  bench.report.AtMost("texts beside bulk: p99 / 8 single-image encodes", p99 / bound, 1);
  bench.report.AtLeast("bulk beside texts / bulk alone", beside / std::max(alone, 1e-3), 0.85);
}

}  // namespace imagesearch::bench
