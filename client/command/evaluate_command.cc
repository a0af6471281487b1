// `imagesearch evaluate`: measures the model of the server on labelled pictures.
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include <atomic>
#include <iostream>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/error.h"
#include "client/bulk/journal.h"
#include "client/command/context.h"
#include "client/command/output.h"
#include "client/evaluate/dataset.h"
#include "client/evaluate/evaluation.h"

namespace imagesearch::client {
namespace {

struct EvaluateOptions {
  std::string set;
  std::string images;
  std::string split = "test";
  std::string queries;
  std::string query_prefix;
  std::string zero_shot;
  std::string labels;
  std::string templates;
  size_t limit = 0;
};

absl::StatusOr<std::vector<EvalImage>> ReadSet(const EvaluateOptions& options) {
  return absl::EndsWith(options.set, ".json")
             ? ReadCocoSet(options.set, options.images, options.split)
             : ReadLinesSet(options.set, options.images);
}

// What the set allows to measure.
absl::StatusOr<std::vector<Recall>> MeasureSet(const EvaluateOptions& options,
                                               Evaluation* evaluation) {
  auto images = ReadSet(options);
  if (!images.ok()) return images.status();
  if (options.limit > 0 && images->size() > options.limit) images->resize(options.limit);
  bool captions = false;
  bool groups = false;
  for (const EvalImage& image : *images) {
    captions |= !image.captions.empty();
    groups |= !image.group.empty();
  }
  std::vector<EvalQuery> queries;
  if (!options.queries.empty()) {
    auto read = ReadQueries(options.queries);
    if (!read.ok()) return read.status();
    queries = *std::move(read);
  }
  if (absl::Status status = evaluation->Store(*std::move(images)); !status.ok()) return status;

  std::vector<Recall> results;
  const auto keep = [&](absl::StatusOr<Recall> result) {
    if (result.ok()) results.push_back(*std::move(result));
    return result.status();
  };
  if (captions) {
    if (auto status = keep(evaluation->TextToImage()); !status.ok()) return status;
    if (auto status = keep(evaluation->ImageToText()); !status.ok()) return status;
  }
  if (groups) {
    // A set may have a group for each picture: then there is nothing to measure.
    auto status = keep(evaluation->ImageToImage(options.query_prefix));
    if (!status.ok() && ReasonOf(status) != "BAD_EVALUATION_SET") return status;
  }
  if (!queries.empty()) {
    if (auto status = keep(evaluation->Queries(queries)); !status.ok()) return status;
  }
  if (results.empty()) {
    return InvalidArgument("BAD_EVALUATION_SET",
                           absl::StrCat(options.set, ": has neither captions nor groups"));
  }
  return results;
}

absl::StatusOr<std::vector<Recall>> MeasureFolders(const EvaluateOptions& options,
                                                   Evaluation* evaluation) {
  std::vector<std::string> templates = {"a photo of a {}."};
  if (!options.templates.empty()) {
    auto read = ReadTemplates(options.templates);
    if (!read.ok()) return read.status();
    templates = *std::move(read);
  }
  auto folders = ReadFolders(options.zero_shot, options.labels);
  if (!folders.ok()) return folders.status();
  if (options.limit > 0 && folders->images.size() > options.limit) {
    folders->images.resize(options.limit);
  }
  if (auto status = evaluation->Store(std::move(folders->images)); !status.ok()) return status;
  auto result = evaluation->ZeroShot(folders->classes, templates);
  if (!result.ok()) return result.status();
  return std::vector<Recall>{*std::move(result)};
}

void Print(const Context& context, const v1::Model& model, const Evaluation& evaluation,
           const std::vector<Recall>& results) {
  if (context.json) {
    Json list = Json::array();
    for (const Recall& result : results) {
      list.push_back({{"task", result.task},
                      {"queries", result.queries},
                      {"gallery", result.gallery},
                      {"at1", result.at1},
                      {"at5", result.at5},
                      {"at10", result.at10}});
    }
    Json failures = Json::array();
    for (const auto& failure : evaluation.failures()) {
      failures.push_back({{"image", failure.name},
                          {"reason", ReasonOf(failure.status)},
                          {"message", std::string(failure.status.message())}});
    }
    return PrintJson({{"model", {{"id", model.id()}, {"precision", model.precision()}}},
                      {"images", evaluation.stored()},
                      {"results", std::move(list)},
                      {"failures", std::move(failures)},
                      {"images_per_second", evaluation.images_per_second()},
                      {"texts_per_second", evaluation.texts_per_second()}});
  }
  Table table({{"task"},
               {"queries", Table::Align::kRight},
               {"among", Table::Align::kRight},
               {"@1 %", Table::Align::kRight},
               {"@5 %", Table::Align::kRight},
               {"@10 %", Table::Align::kRight}});
  for (const Recall& result : results) {
    table.AddRow({result.task, HumanCount(result.queries), HumanCount(result.gallery),
                  absl::StrFormat("%.2f", result.at1), absl::StrFormat("%.2f", result.at5),
                  absl::StrFormat("%.2f", result.at10)});
  }
  std::cout << "model " << model.id() << " in " << model.precision() << ", "
            << HumanCount(evaluation.stored()) << " pictures, exact search\n";
  table.Print(std::cout);
  std::cout << absl::StrFormat("%.1f images/s stored", evaluation.images_per_second());
  if (evaluation.texts_per_second() > 0) {
    std::cout << absl::StrFormat(", %.1f texts/s encoded", evaluation.texts_per_second());
  }
  std::cout << "\n";
  for (const auto& failure : evaluation.failures()) {
    std::cerr << "failed: " << failure.name << ": " << failure.status.message() << " ["
              << ReasonOf(failure.status) << "]\n";
  }
}

// Waits for SIGINT and SIGTERM on a thread of its own; at one, takes the evaluation's collections
// away and ends the process with 128 + signal, as shells report it. Made before any other thread,
// so that none of them gets the signal instead.
class SignalWatch {
 public:
  SignalWatch() {
    sigemptyset(&signals_);
    sigaddset(&signals_, SIGINT);
    sigaddset(&signals_, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals_, nullptr);
  }
  ~SignalWatch() { End(); }
  SignalWatch(const SignalWatch&) = delete;
  SignalWatch& operator=(const SignalWatch&) = delete;

  // `evaluation` must live until End().
  void Begin(Evaluation* evaluation) {
    thread_ = std::thread([this, evaluation] {
      constexpr timespec kPoll = {0, 50'000'000};
      while (!ended_) {
        const int signal = sigtimedwait(&signals_, nullptr, &kPoll);
        if (signal <= 0) continue;
        // A second signal ends it at once.
        pthread_sigmask(SIG_UNBLOCK, &signals_, nullptr);
        std::cerr << "imagesearch evaluate: stopped by " << strsignal(signal)
                  << "; deleting its collections\n";
        evaluation->Stop();
        _exit(128 + signal);
      }
    });
  }
  void End() {
    ended_ = true;
    if (thread_.joinable()) thread_.join();
  }

 private:
  sigset_t signals_;
  std::atomic<bool> ended_{false};
  std::thread thread_;
};

int RunEvaluate(const Context& context, const EvaluateOptions& options) {
  if (options.set.empty() == options.zero_shot.empty()) {
    std::cerr << "imagesearch evaluate: give a SET or --zero-shot DIR, one of the two\n";
    return kExitUsage;
  }
  SignalWatch signals;
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  auto info = (*client)->GetServerInfo();
  if (!info.ok()) return Fail(context, info.status());
  Evaluation evaluation(client->get(), Journal::DefaultFolder());
  signals.Begin(&evaluation);
  if (evaluation.swept() > 0) {
    std::cerr << "deleted " << evaluation.swept()
              << " collections that an evaluation killed earlier had left\n";
  }
  auto results =
      options.set.empty() ? MeasureFolders(options, &evaluation) : MeasureSet(options, &evaluation);
  signals.End();
  if (!results.ok()) return Fail(context, results.status());
  Print(context, info->model(), evaluation, *results);
  return evaluation.failures().empty() ? kExitOk : kExitSomeFailed;
}

}  // namespace

void AddEvaluateCommand(CLI::App* app, Context* context) {
  auto options = std::make_shared<EvaluateOptions>();
  CLI::App* evaluate = app->add_subcommand(
      "evaluate", "Measure the server's model on labelled pictures, by exact search");
  evaluate->fallthrough();
  evaluate->add_option("SET", options->set,
                       "JSON Lines {\"image\", \"captions\", \"group\"}, or a .json file of COCO "
                       "captions (Karpathy's split file or COCO's own)");
  evaluate->add_option("--images", options->images, "Folder of the pictures (default: SET's own)")
      ->type_name("DIR");
  evaluate->add_option("--split", options->split, "Split of a Karpathy file")
      ->capture_default_str();
  evaluate
      ->add_option("--queries", options->queries,
                   "Also JSON Lines {\"query\", \"relevant\"}: any right picture counts")
      ->type_name("FILE");
  evaluate->add_option("--query-prefix", options->query_prefix,
                       "Of the groups: pictures whose name starts so ask among the others");
  evaluate
      ->add_option("--zero-shot", options->zero_shot,
                   "Classify the pictures of labelled folders (ImageNet layout) instead")
      ->type_name("DIR");
  evaluate
      ->add_option("--labels", options->labels,
                   "Names of the folders: lines \"FOLDER NAME\" or JSON {\"folder\", \"name\"}")
      ->type_name("FILE");
  evaluate
      ->add_option("--templates", options->templates,
                   "Prompts, one a line with {} for the name (default: a photo of a {}.)")
      ->type_name("FILE");
  evaluate->add_option("-n,--limit", options->limit, "Only the first pictures (0: all)");
  OnRun(evaluate, context, [context, options] { return RunEvaluate(*context, *options); });
}

}  // namespace imagesearch::client
