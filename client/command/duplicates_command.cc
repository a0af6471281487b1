// `imagesearch duplicates`: groups of duplicates in a collection.
#include <unistd.h>

#include <iostream>
#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "client/command/context.h"
#include "client/command/duplicate_tiers.h"
#include "client/command/output.h"

namespace imagesearch::client {
namespace {

struct DuplicatesCommand {
  std::string tier = "picture";
  std::string filter;
  std::optional<float> min_score;
  bool only_ids = false;
};

void PrintGroup(const v1::DuplicateGroup& group, bool begins) {
  if (begins) std::cout << "group " << group.number() << ", " << group.size() << " pictures\n";
  bool first = begins;
  for (const v1::DuplicateHit& image : group.images()) {
    const std::string id = ShownText(image.id());
    if (first) {
      std::cout << "  " << id << "\n";
    } else {
      std::cout << "  " << id << "  (" << TierName(image.tier())
                << absl::StrFormat(", %.3f", image.score()) << ")\n";
    }
    first = false;
  }
}

int RunDuplicates(const Context& context, const DuplicatesCommand& options) {
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  v1::FindDuplicatesRequest request;
  request.set_collection(context.collection);
  request.set_filter(options.filter);
  request.set_tier(ParseTier(options.tier));
  if (options.min_score) request.set_min_score(*options.min_score);
  const bool terminal = isatty(STDERR_FILENO) != 0;
  v1::FindDuplicatesResponse::Summary summary;
  uint64_t number = 0;
  Json groups = Json::array();
  const absl::Status status =
      (*client)->FindDuplicates(request, [&](const v1::FindDuplicatesResponse& event) {
        if (event.has_progress() && terminal) {
          std::cerr << "\rlooked at " << HumanCount(event.progress().examined()) << " of "
                    << HumanCount(event.progress().total()) << " \r" << std::flush;
        }
        if (event.has_summary()) summary = event.summary();
        if (!event.has_group()) return;
        const v1::DuplicateGroup& group = event.group();
        const bool begins = group.number() != number;
        number = group.number();
        if (options.only_ids) {
          for (int i = begins ? 1 : 0; i < group.images_size(); ++i) {
            std::cout << group.images(i).id() << "\n";
          }
          return;
        }
        if (!context.json) return PrintGroup(group, begins);
        if (begins) groups.push_back({{"size", group.size()}, {"images", Json::array()}});
        for (const v1::DuplicateHit& image : group.images()) {
          Json one = {{"id", image.id()}};
          if (image.tier() != v1::DUPLICATE_TIER_UNSPECIFIED) {
            one["tier"] = TierName(image.tier());
            one["score"] = image.score();
          }
          groups.back()["images"].push_back(std::move(one));
        }
      });
  if (!status.ok()) return Fail(context, status);
  if (options.only_ids) return kExitOk;
  if (context.json) {
    PrintJson({{"groups", std::move(groups)},
               {"images", summary.images()},
               {"duplicates", summary.duplicates()},
               {"version", summary.version()}});
  } else {
    std::cout << HumanCount(summary.duplicates()) << " duplicates in "
              << HumanCount(summary.groups()) << " groups, among " << HumanCount(summary.images())
              << " pictures\n";
  }
  return kExitOk;
}

}  // namespace

void AddDuplicatesCommand(CLI::App* app, Context* context) {
  auto options = std::make_shared<DuplicatesCommand>();
  CLI::App* command =
      app->add_subcommand("duplicates", "Find groups of duplicates among stored pictures");
  command->fallthrough();
  AddTierOption(command, "--tier", &options->tier);
  command->add_option("--filter", options->filter, "Look among what matches this filter");
  command
      ->add_option("--min-score", options->min_score,
                   "look-alike: cosine similarity from which two pictures are one (0.95)")
      ->check(CLI::Range(0.0, 1.0));
  command->add_flag("--ids", options->only_ids,
                    "Print just the ids beyond the first of each group, one a line");
  OnRun(command, context, [=] { return RunDuplicates(*context, *options); });
}

}  // namespace imagesearch::client
