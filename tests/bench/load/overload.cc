// More work than can be done: what is refused, what it costs, and what is dropped.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/status.h"
#include "grpcpp/client_context.h"
#include "imagesearch/v1/imagesearch.grpc.pb.h"
#include "tests/bench/load/scenarios.h"
#include "tests/bench/load/workload.h"

namespace imagesearch::bench {
namespace {

constexpr double kOverload = 10;
constexpr int kCallers = 256;
// The server's own bounds on what waits, by default: requests in flight, gRPC's buffers, the
// encoder's queue, 256 MiB each (docs/operations.md).
constexpr double kQueueBoundsMiB = 3 * 256;

// Highest resident memory, looked at ten times a second, in each half of a phase.
class MemoryWatch {
 public:
  MemoryWatch(pid_t process, double seconds)
      : thread_([this, process, seconds] {
          const auto start = std::chrono::steady_clock::now();
          while (!stop_) {
            const std::chrono::duration<double> time = std::chrono::steady_clock::now() - start;
            double& highest = time.count() < seconds / 2 ? first_half_ : second_half_;
            highest = std::max(highest, ResidentMiB(process));
            std::this_thread::sleep_for(std::chrono::milliseconds(100));
          }
        }) {}
  ~MemoryWatch() { Stop(); }

  void Stop() {
    stop_ = true;
    if (thread_.joinable()) thread_.join();
  }
  // Once stopped.
  double first_half() const { return first_half_; }
  double second_half() const { return second_half_; }

 private:
  std::atomic<bool> stop_{false};
  double first_half_ = 0, second_half_ = 0;
  std::thread thread_;
};

// CPU seconds, the server's and the generator's, of one upload that is refused when `rate` of them
// come in a second. Every thread for interactive calls is kept waiting meanwhile, by searches for a
// version that never comes: that takes no CPU, so what is spent is spent on refusing.
double RefusalCost(Bench& bench, double rate) {
  std::vector<std::thread> waiters;
  const auto channel = bench.server->Channel();
  std::vector<grpc::ClientContext> contexts(bench.encode_calls);
  const double seconds = bench.durations.rate / 4;
  const auto end = std::chrono::system_clock::now() +
                   std::chrono::milliseconds(4000 + static_cast<int>(1000 * seconds));
  for (grpc::ClientContext& context : contexts) {
    waiters.emplace_back([&context, &channel, end] {
      v1::SearchRequest request;
      request.set_min_version(UINT64_MAX);
      *request.mutable_query()->add_terms() = client::TextTerm("waits");
      context.set_deadline(end);
      v1::SearchResponse response;
      v1::ImageSearch::NewStub(channel)->Search(&context, request, &response);
    });
  }
  std::this_thread::sleep_for(std::chrono::milliseconds(2000));
  const Outcome outcome = DriveOpen(rate, kCallers, seconds, bench.TakeNumbers(),
                                    bench.server->pid(), bench.EncodePhoto());
  for (std::thread& waiter : waiters) waiter.join();
  bench.report.Figure("calibration_accepted", "uploads accepted while the places were held",
                      static_cast<double>(outcome.accepted()), "");
  bench.report.Check("uploads are refused while every interactive call waits",
                     outcome.refused() > 0 && outcome.accepted() == 0);
  bench.report.Figure("refusal_unloaded_p99_ms", "a refusal by an idle server, p99",
                      Percentile(outcome.refused_ms, 0.99), "ms");
  return outcome.cpu.both() / std::max<double>(1, static_cast<double>(outcome.refused()));
}

}  // namespace

void Overload(Bench& bench, const Outcome& peak) {
  Report& report = bench.report;
  report.Heading("overload", "ten times as many images as the server can encode, one a call");
  const double cost_of_refusal = RefusalCost(bench, kOverload * peak.rate());
  const double memory_before = ResidentMiB(bench.server->pid());
  const double seconds = bench.durations.overload;
  MemoryWatch memory(bench.server->pid(), seconds);
  const Outcome outcome = DriveOpen(kOverload * peak.rate(), kCallers, seconds, bench.TakeNumbers(),
                                    bench.server->pid(), bench.EncodePhoto());
  memory.Stop();
  bench.Describe(outcome, "images");
  const double cost_of_image = peak.cpu.both() / static_cast<double>(peak.accepted());
  const double spent_at_peak = peak.cpu.both() / peak.seconds;  // cores
  const double spent_on_refusals =
      cost_of_refusal * static_cast<double>(outcome.refused()) / outcome.seconds;
  const double net_peak = (spent_at_peak - spent_on_refusals) / cost_of_image;
  report.Figure("offered", "images offered", static_cast<double>(outcome.sent) / seconds, "/s");
  report.Figure("latest_ms", "the call that was sent latest, behind its time", outcome.latest_ms,
                "ms");
  report.Figure("refused", "refused", static_cast<double>(outcome.refused()) / outcome.seconds,
                "/s");
  report.Figure("refusal_p50_ms", "p50 of refusals", Percentile(outcome.refused_ms, 0.5), "ms");
  report.Figure("refusal_p99_ms", "p99 of refusals", Percentile(outcome.refused_ms, 0.99), "ms");
  report.Figure("expired", "expired", static_cast<double>(outcome.expired));
  report.Figure("image_cost_ms", "CPU of an image at peak, server and generator",
                1e3 * cost_of_image, "ms");
  report.Figure("refusal_cost_ms", "CPU of a refused upload, server and generator",
                1e3 * cost_of_refusal, "ms");
  report.Figure("net_peak", "peak net of the refusals' cost", net_peak, "/s");
  report.Figure("memory_before_mib", "server's memory before", memory_before, "MiB");
  report.Figure("memory_first_half_mib", "its highest in the first half", memory.first_half(),
                "MiB");
  report.Figure("memory_second_half_mib", "its highest in the second half", memory.second_half(),
                "MiB");
  report.Check("every call is answered: accepted, refused or expired",
               outcome.sent == outcome.accepted() + outcome.refused() + outcome.expired);
  report.Check("what is too much is refused", outcome.refused() > 0);
  report.Check("each refusal says when to come again", outcome.refused_without_advice == 0);
  report.Check("memory stays within the bounds on what waits",
               memory.second_half() <= memory_before + kQueueBoundsMiB);
  report.AtLeast("overload: goodput / net peak", outcome.rate() / net_peak, 0.95);
  report.AtMost("overload: p99 of accepted / p99 at peak",
                Percentile(outcome.accepted_ms, 0.99) / Percentile(peak.accepted_ms, 0.99), 2);
  report.AtMost("overload: p99 of refusals, ms", Percentile(outcome.refused_ms, 0.99), 20);
  report.AtMost("overload: memory in the second half / in the first",
                memory.second_half() / std::max(memory.first_half(), 1.0), 1.1);
}

void AbandonedCalls(Bench& bench) {
  Report& report = bench.report;
  report.Heading("abandoned", "calls that nobody waits for any more, behind 32 clients' images");
  constexpr int kAbandoned = 24;
  const auto dropped = [&bench] {
    return bench.server->Metric("imagesearch_encoder_dropped_cancelled_total") +
           bench.server->Metric("imagesearch_encoder_dropped_expired_total");
  };
  const auto encoded = [&bench] {
    return bench.server->Metric("imagesearch_encoder_batched_inputs_total", "kind=\"image\"");
  };
  const double dropped_before = dropped(), encoded_before = encoded();
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> abandoned{0}, answered{0}, refused{0}, without_pushback{0};
  std::vector<std::thread> quitters;
  const auto channel = bench.server->Channel();
  for (int thread = 0; thread < kAbandoned; ++thread) {
    quitters.emplace_back([&, thread, number = bench.TakeNumbers()]() mutable {
      const auto stub = v1::ImageSearch::NewStub(channel);
      while (!stop) {
        v1::EncodeRequest request;
        ++number;
        request.add_inputs()->set_image(
            Numbered(bench.photos[number % bench.photos.size()], number));
        v1::EncodeResponse response;
        grpc::ClientContext context;
        // Some leave by cancelling; the deadline of the others passes, as far as the queue's
        // forecast lets them in.
        std::thread leave;
        if (thread % 2 == 0) {
          leave = std::thread([&context] {
            std::this_thread::sleep_for(std::chrono::milliseconds(30));
            context.TryCancel();
          });
        } else {
          context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(200));
        }
        const grpc::Status status = stub->Encode(&context, request, &response);
        ++(status.ok() ? answered : abandoned);
        if (status.error_code() == grpc::StatusCode::RESOURCE_EXHAUSTED) {
          ++refused;
          without_pushback +=
              context.GetServerTrailingMetadata().count("grpc-retry-pushback-ms") == 0;
        }
        if (leave.joinable()) leave.join();
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
      }
    });
  }
  const Outcome others = bench.Closed(32, bench.durations.rate / 2, bench.EncodePhoto());
  stop = true;
  for (std::thread& quitter : quitters) quitter.join();
  bench.Describe(others, "images of those who wait");
  const double now_dropped = dropped() - dropped_before, now_encoded = encoded() - encoded_before;
  const auto all = static_cast<double>(others.sent + abandoned + answered);
  report.Figure("abandoned", "abandoned calls", static_cast<double>(abandoned));
  report.Figure("dropped", "of those, dropped from the encoder's queue", now_dropped);
  report.Figure("encoded", "images that the towers ran", now_encoded);
  report.Check("a deadline that can't be met is refused", refused > 0);
  report.Check("each such refusal has grpc-retry-pushback-ms", without_pushback == 0);
  report.Check("abandoned work is dropped from the queue", now_dropped > 0);
  report.Check("what was dropped did not run: run + dropped <= sent",
               now_encoded + now_dropped <= all);
  report.AtMost("abandoned: images run / images that were answered",
                now_encoded / static_cast<double>(others.accepted() + answered), 1.5);
}

}  // namespace imagesearch::bench
