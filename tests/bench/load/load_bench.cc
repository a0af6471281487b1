// The server under load, over loopback gRPC, beside the bare encoder in the same run. Starts the
// server itself.
//
//   load_bench [--model DIR] [--precision auto] [--threads N] [--json FILE] [--short]
//              [--only texts,abandoned,overload,bulk] [--server BINARY] [-- more flags of
//              imagesearchd]
//
// DIR defaults to the shipped model; tests/bench/make_checkpoint.py makes a random one of the size
// of ViT-B/32. Takes about five minutes. --short: half a minute, for the checks of behaviour alone
// (what must be refused is, with advice; nothing fails, hangs or runs for nobody); the exit code is
// 1 when one is broken. Figures and targets are for people: they don't change the exit code. Look
// at "cores that other processes took" before you believe a figure.
#include <filesystem>
#include <iostream>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tests/bench/load/scenarios.h"
#include "tests/bench/load/workload.h"

namespace imagesearch::bench {
namespace {

namespace fs = std::filesystem;

constexpr int kPhotos = 64, kConnections = 8;

struct Settings {
  std::string model, server, json;
  std::string only = "texts,abandoned,overload,bulk";  // besides the images
  std::string precision = "auto";
  int threads = Cores();
  bool brief = false;
  std::vector<std::string> server_flags;
};

bool ReadSettings(const std::vector<std::string>& arguments, Settings* settings) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    const std::string& name = arguments[i];
    if (name == "--") {
      settings->server_flags.assign(arguments.begin() + static_cast<std::ptrdiff_t>(i) + 1,
                                    arguments.end());
      return true;
    }
    if (name == "--short") {
      settings->brief = true;
      continue;
    }
    if (i + 1 == arguments.size()) return false;
    const std::string& value = arguments[++i];
    if (name == "--model") {
      settings->model = value;
    } else if (name == "--precision") {
      settings->precision = value;
    } else if (name == "--server") {
      settings->server = value;
    } else if (name == "--only") {
      settings->only = value;
    } else if (name == "--json") {
      settings->json = value;
    } else if (name != "--threads" || !absl::SimpleAtoi(value, &settings->threads) ||
               settings->threads < 1) {
      return false;
    }
  }
  return true;
}

int Fail(const absl::Status& status) {
  std::cerr << "load_bench: " << status << "\n";
  return 1;
}

int Main(const fs::path& program, const std::vector<std::string>& arguments) {
  Settings settings;
  const fs::path build = program.parent_path() / "../..";  // build/NAME/tests/bench/load_bench
  settings.server = (build / "server/imagesearchd").lexically_normal().string();
  settings.model = (build / "../../encoder/models/imagesearch-lite-v1").lexically_normal().string();
  if (!ReadSettings(arguments, &settings)) {
    std::cerr << "usage: load_bench [--model DIR] [--precision P] [--threads N] [--json FILE] "
                 "[--short] [--only texts,abandoned,overload,bulk] [--server BINARY] [-- FLAGS OF "
                 "IMAGESEARCHD]\n";
    return 2;
  }
  Bench bench;
  bench.photos = MakePhotos(kPhotos);
  if (settings.brief) bench.durations = {.rate = 2, .beside = 3, .overload = 4};
  BareOptions bare;
  bare.model_dir = settings.model;
  bare.precision = settings.precision;
  bare.threads = settings.threads;
  bare.seconds = bench.durations.rate / 2;
  auto figures = MeasureBare(bare, bench.photos);
  if (!figures.ok()) return Fail(figures.status());
  bench.bare = *figures;

  std::vector<std::string> flags = {"--model=" + settings.model,
                                    "--precision=" + settings.precision,
                                    absl::StrCat("--encoder-threads=", settings.threads),
                                    absl::StrCat("--max-encode-calls=", bench.encode_calls)};
  flags.insert(flags.end(), settings.server_flags.begin(), settings.server_flags.end());
  auto server = ServerProcess::Start(settings.server, flags);
  if (!server.ok()) return Fail(server.status());
  bench.server = *std::move(server);
  for (int i = 0; i < kConnections; ++i) {
    auto client = bench.server->Connect(absl::Seconds(30));
    if (!client.ok()) return Fail(client.status());
    bench.clients.push_back(*std::move(client));
  }
  bench.report.Heading("setting", "setting");
  bench.report.Note("model", "model", settings.model);
  bench.report.Note("precision", "precision", bench.bare.precision);
  bench.report.Figure("threads", "threads of the towers", settings.threads);
  bench.report.Figure("cores", "cores", Cores());
  bench.report.Figure("photo_kb", "kilobytes of a photo",
                      static_cast<double>(bench.photos[0].size()) / 1000);

  const Outcome peak = ServeImages(bench);
  const auto wanted = [&settings](const char* name) {
    return absl::StrContains(settings.only, name);
  };
  if (wanted("texts")) ServeTexts(bench);
  if (wanted("abandoned")) AbandonedCalls(bench);
  if (wanted("overload")) Overload(bench, peak);
  if (wanted("bulk")) TextsBesideBulk(bench);
  const absl::Status stopped = bench.server->Stop();
  bench.report.Check(absl::StrCat("the server stops cleanly: ", stopped.message()), stopped.ok());

  bench.report.PrintTargets();
  if (!settings.json.empty() && !bench.report.Write(settings.json)) {
    std::cerr << "load_bench: can't write " << settings.json << "\n";
    return 1;
  }
  return bench.report.all_hold() ? 0 : 1;
}

}  // namespace
}  // namespace imagesearch::bench

int main(int argc, char** argv) {
  return imagesearch::bench::Main(std::filesystem::read_symlink("/proc/self/exe"),
                                  {argv + 1, argv + argc});
}
