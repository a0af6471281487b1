// `imagesearch index`: options, progress, failure report and summary of an index job.
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/error.h"
#include "client/bulk/index_job.h"
#include "client/bulk/journal.h"
#include "client/bulk/progress.h"
#include "client/bulk/table_file.h"
#include "client/command/context.h"
#include "client/command/duplicate_tiers.h"
#include "client/command/output.h"

namespace imagesearch::client {
namespace {

constexpr int kFailuresShown = 10;  // on the terminal; --failures FILE gets all

struct IndexArguments {
  std::vector<std::string> sources;
  SourceOptions source;
  IndexOptions job;
  std::string id = "hash";
  std::string on_duplicate = "keep";
  std::string duplicate_tier = "picture";
  std::string failures;
  std::string side_file;
  std::string journal = Journal::DefaultFolder();
  bool no_journal = false;
  bool quiet = false;
  double give_up_seconds = 300;
};

Json ToJson(const IndexJob::Failure& failure) {
  Json json = {{"path", failure.path}};
  if (!failure.id.empty()) json["id"] = failure.id;
  json["code"] = absl::StatusCodeToString(failure.status.code());
  json["reason"] = ReasonOf(failure.status);
  json["message"] = std::string(failure.status.message());
  return json;
}

Json ToJson(const IndexSummary& summary, bool dry_run) {
  const IndexCounts& counts = summary.counts;
  Json json = {{"seen", counts.seen},
               {dry_run ? "would_send" : "sent", counts.sent},
               {"skipped", {{"unchanged", counts.unchanged}, {"duplicates", counts.duplicates}}},
               {"failed", counts.failed},
               {"shrunk", counts.shrunk},
               {"reported_duplicates", counts.reported},
               {"deleted", summary.deleted},
               {"other_files", summary.other_files},
               {"version", summary.version},
               {"seconds", summary.seconds},
               {"bytes_read", counts.bytes_read}};
  if (summary.sync_left_out) json["sync_left_out"] = true;
  for (const absl::Status& status : summary.unreadable) {
    json["unreadable"].push_back(std::string(status.message()));
  }
  if (!summary.stopped.ok()) {
    json["stopped"] = {{"reason", ReasonOf(summary.stopped)},
                       {"message", std::string(summary.stopped.message())}};
  }
  return json;
}

void PrintSummary(const IndexSummary& summary, bool dry_run) {
  const IndexCounts& counts = summary.counts;
  std::cout << HumanCount(counts.seen) << " pictures seen: " << HumanCount(counts.sent)
            << (dry_run ? " would be sent, " : " sent, ")
            << HumanCount(counts.unchanged + counts.duplicates) << " skipped ("
            << HumanCount(counts.unchanged) << " unchanged, " << HumanCount(counts.duplicates)
            << " duplicates), " << HumanCount(counts.failed) << " failed";
  if (summary.deleted > 0) std::cout << "; " << HumanCount(summary.deleted) << " deleted";
  std::cout << absl::StrFormat(
      " (%.1f s, %.1f images/s)\n", summary.seconds,
      static_cast<double>(counts.done()) / std::max(summary.seconds, 1e-3));
  if (counts.shrunk > 0) {
    std::cout << HumanCount(counts.shrunk) << " of them were shrunk or converted first\n";
  }
  if (counts.reported > 0) {
    std::cout << HumanCount(counts.reported) << " of them duplicate stored pictures\n";
  }
  if (summary.other_files > 0) {
    std::cout << HumanCount(summary.other_files)
              << " other files left out (no pictures, or by --include and --exclude)\n";
  }
  for (const absl::Status& status : summary.unreadable) {
    std::cout << "not read: " << status.message() << "\n";
  }
  if (summary.sync_left_out) {
    std::cout << "--sync deleted nothing, since not every source was read to its end\n";
  }
  if (!summary.stopped.ok()) {
    std::cout << "stopped: " << summary.stopped.message() << " [" << ReasonOf(summary.stopped)
              << "]\n";
  }
}

// Counts in the background how many pictures there will be, for the time left. Standard input can't
// be read twice.
class TotalCounter {
 public:
  TotalCounter(const IndexArguments& arguments, Progress* progress) {
    for (const std::string& name : arguments.sources) {
      if (!std::filesystem::is_directory(name)) return;
    }
    thread_ = std::thread([this, &arguments, progress] {
      uint64_t total = 0;
      for (const std::string& name : arguments.sources) {
        MakeFolderSource(name, arguments.source)->Walk([&](SourceItem) {
          ++total;
          return !cancelled_;
        });
      }
      if (!cancelled_) progress->SetTotal(total);
    });
  }
  ~TotalCounter() {
    cancelled_ = true;
    if (thread_.joinable()) thread_.join();
  }

 private:
  std::atomic<bool> cancelled_{false};
  std::thread thread_;
};

int ExitCodeOf(const Context& context, const IndexSummary& summary) {
  const absl::StatusCode stop = summary.stopped.code();
  if (stop == absl::StatusCode::kUnavailable || stop == absl::StatusCode::kDeadlineExceeded) {
    return kExitUnreachable;
  }
  if (!summary.stopped.ok() && stop != absl::StatusCode::kAborted) return kExitRefused;
  return summary.counts.failed > 0 || !summary.unreadable.empty() || !summary.stopped.ok()
             ? kExitSomeFailed
             : kExitOk;
}

int RunIndex(const Context& context, const IndexArguments& arguments) {
  std::vector<std::unique_ptr<Source>> sources;
  for (const std::string& name : arguments.sources) {
    auto source = OpenSource(name, arguments.source);
    if (!source.ok()) return Fail(context, source.status());
    sources.push_back(*std::move(source));
  }
  IndexOptions options = arguments.job;
  options.collection = context.collection;
  options.id_from_path = arguments.id == "path";
  options.journal_folder = arguments.no_journal ? "" : arguments.journal;
  options.uploader.on_duplicate = arguments.on_duplicate == "skip"     ? v1::ON_DUPLICATE_SKIP
                                  : arguments.on_duplicate == "report" ? v1::ON_DUPLICATE_REPORT
                                                                       : v1::ON_DUPLICATE_KEEP;
  options.uploader.duplicate_tier = ParseTier(arguments.duplicate_tier);
  options.uploader.give_up_after = absl::Seconds(arguments.give_up_seconds);
  if (!arguments.side_file.empty()) {
    auto side = ReadSideFile(arguments.side_file);
    if (!side.ok()) return Fail(context, side.status());
    options.side_metadata = *std::move(side);
  }
  std::ofstream failures;
  if (!arguments.failures.empty()) {
    failures.open(arguments.failures, std::ios::trunc);
    if (!failures) {
      return Fail(context, LocalFileError(arguments.failures, "can't be written"));
    }
  }
  Context bulk = context;
  bulk.client.bulk = true;
  auto client = bulk.Connect();
  if (!client.ok()) return Fail(context, client.status());

  Progress* progress = nullptr;
  int shown = 0;
  IndexJob job(
      client->get(), options,
      [&](const IndexJob::Failure& failure) {
        if (failures.is_open()) failures << Dump(ToJson(failure)) << "\n" << std::flush;
        if (arguments.quiet || ++shown > kFailuresShown + 1) return;
        if (shown > kFailuresShown) {
          progress->Say("failed: more; --failures FILE lists them all");
        } else {
          progress->Say(absl::StrCat("failed: ", failure.path, ": ", failure.status.message(), " [",
                                     ReasonOf(failure.status), "]"));
        }
      },
      [&](const std::string& path, const std::string& note) {
        if (!arguments.quiet) progress->Say(absl::StrCat(path, ": ", note));
      });
  absl::StatusOr<IndexSummary> summary;
  {
    std::ostream nowhere(nullptr);
    Progress shown_progress(&job, arguments.quiet ? &nowhere : &std::cerr, isatty(STDERR_FILENO));
    progress = &shown_progress;
    TotalCounter total(arguments, progress);
    summary = job.Run(sources);
  }
  if (!summary.ok()) {
    const int exit_code = Fail(context, summary.status());
    if (ReasonOf(summary.status()) == "COLLECTION_NOT_FOUND" && !context.json) {
      std::cerr << "imagesearch: create it with: imagesearch collections create "
                << context.collection << "\n";
    }
    return exit_code;
  }
  if (context.json) {
    PrintJson(ToJson(*summary, options.dry_run));
  } else {
    PrintSummary(*summary, options.dry_run);
  }
  return ExitCodeOf(context, *summary);
}

}  // namespace

void AddIndexCommand(CLI::App* app, Context* context) {
  auto arguments = std::make_shared<IndexArguments>();
  CLI::App* index = app->add_subcommand("index", "Store the pictures of folders, archives, lists");
  index->fallthrough();
  index
      ->add_option("SOURCE", arguments->sources,
                   "Folders, pictures, tar and zip archives, WebDataset shards, .jsonl or .csv "
                   "manifests (path, id and metadata columns); - reads a list of paths")
      ->required();
  index
      ->add_option("--include", arguments->source.include,
                   "Only files that match this glob; can be given again")
      ->allow_extra_args(false);
  index
      ->add_option("--exclude", arguments->source.exclude,
                   "Not the files that match this glob; can be given again")
      ->allow_extra_args(false);
  index->add_flag("--follow-links", arguments->source.follow_links, "Enter linked folders");
  index
      ->add_option("--id", arguments->id,
                   "hash: the id is the content's SHA-256, equal files are stored once; path: the "
                   "id is the absolute path, a changed file replaces its picture")
      ->check(CLI::IsMember({"hash", "path"}))
      ->capture_default_str();
  index
      ->add_option("--on-duplicate", arguments->on_duplicate,
                   "A picture that duplicates a stored one: keep stores it unasked, skip leaves it "
                   "out, report stores it and tells")
      ->check(CLI::IsMember({"keep", "skip", "report"}))
      ->capture_default_str();
  AddTierOption(index, "--duplicate-tier", &arguments->duplicate_tier);
  index
      ->add_option("--metadata", arguments->side_file,
                   "Side file (.jsonl or .csv) with metadata for each path or file name")
      ->type_name("FILE");
  index->add_flag("--exif", arguments->job.exif,
                  "Store width, height, date, camera and place from EXIF as metadata");
  index->add_flag("--sync", arguments->job.sync,
                  "Then delete pictures of these sources whose file is gone or has changed");
  index->add_flag("--dry-run", arguments->job.dry_run, "Look and compare, send nothing");
  index->add_option("--failures", arguments->failures, "Write each failure as a line of JSON")
      ->type_name("FILE");
  index
      ->add_option("--max-error-rate", arguments->job.max_error_rate,
                   "Stop when more than this part has failed (0 to 1; 1: never)")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  index->add_option("--readers", arguments->job.readers, "Threads that read and hash")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  index
      ->add_option("--window", arguments->job.uploader.window_images,
                   "Pictures on their way to the server at once")
      ->check(CLI::Range(1, 4096))
      ->capture_default_str();
  index
      ->add_option("--give-up-after", arguments->give_up_seconds,
                   "Seconds without an answer after which the job ends")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  index
      ->add_option("--journal", arguments->journal,
                   "Folder that remembers what is stored, so that a second run is quick")
      ->type_name("DIR")
      ->capture_default_str();
  index->add_flag("--no-journal", arguments->no_journal, "Send every file, remember nothing");
  index->add_flag("-q,--quiet", arguments->quiet, "Only the summary");
  OnRun(index, context, [context, arguments] { return RunIndex(*context, *arguments); });
}

}  // namespace imagesearch::client
