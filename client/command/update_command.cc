// `imagesearch update`: changes metadata of stored pictures by id or filter.
#include <iostream>
#include <memory>
#include <utility>

#include "base/error.h"
#include "client/command/context.h"
#include "client/command/output.h"
#include "client/status.h"

namespace imagesearch::client {
namespace {

constexpr size_t kIdsAtOnce = 500;  // of one call; the server takes at most 1,000

struct UpdateCommand {
  std::vector<std::string> ids;
  std::string filter;
  std::string patch;
  std::vector<std::string> set;    // KEY=VALUE
  std::vector<std::string> unset;  // KEY
};

absl::Status BadPatch(absl::string_view what) { return InvalidArgument("BAD_PATCH", what); }

// A value as JSON, or as text where it is none.
Json ParseValue(const std::string& text) {
  Json value = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  return value.is_discarded() ? Json(text) : value;
}

absl::StatusOr<google::protobuf::Struct> MakePatch(const UpdateCommand& options) {
  Json patch = Json::object();
  if (!options.patch.empty()) {
    patch = Json::parse(options.patch, nullptr, /*allow_exceptions=*/false);
    if (!patch.is_object()) return BadPatch("--patch is no JSON object");
  }
  for (const std::string& pair : options.set) {
    const size_t equals = pair.find('=');
    if (equals == std::string::npos || equals == 0) {
      return BadPatch("--set takes KEY=VALUE, for example --set year=2024");
    }
    patch[pair.substr(0, equals)] = ParseValue(pair.substr(equals + 1));
  }
  for (const std::string& key : options.unset) patch[key] = nullptr;
  if (patch.empty()) return BadPatch("nothing to change: give --set, --unset or --patch");
  google::protobuf::Struct result;
  FromJson(patch, &result);
  return result;
}

int RunUpdate(const Context& context, const UpdateCommand& options) {
  if (options.ids.empty() == options.filter.empty()) {
    std::cerr << "imagesearch update: give ids or --filter, one of the two\n";
    return kExitUsage;
  }
  auto patch = MakePatch(options);
  if (!patch.ok()) {
    std::cerr << "imagesearch update: " << patch.status().message() << "\n";
    return kExitUsage;
  }
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  v1::UpdateMetadataRequest request;
  request.set_collection(context.collection);
  request.set_filter(options.filter);
  *request.mutable_merge_patch() = *std::move(patch);
  uint64_t matched = 0, updated = 0, version = 0;
  bool missing = false;
  size_t start = 0;
  do {  // once for a filter
    request.clear_ids();
    const size_t end = std::min(start + kIdsAtOnce, options.ids.size());
    for (size_t i = start; i < end; ++i) request.add_ids(options.ids[i]);
    auto response = (*client)->UpdateMetadata(request);
    if (!response.ok()) return Fail(context, response.status());
    for (int i = 0; i < response->results_size(); ++i) {
      if (response->results(i).code() == 0) continue;
      missing = true;
      const absl::Status status = FromItem(response->results(i));
      std::cerr << "imagesearch: " << request.ids(i) << ": " << status.message() << " ["
                << ReasonOf(status) << "]\n";
    }
    matched += response->matched();
    updated += response->updated();
    version = response->version();
    start = end;
  } while (start < options.ids.size());
  if (context.json) {
    PrintJson({{"matched", matched}, {"updated", updated}, {"version", version}});
  } else {
    std::cout << "updated " << HumanCount(updated) << " of " << HumanCount(matched) << " found\n";
  }
  return missing ? kExitSomeFailed : kExitOk;
}

}  // namespace

void AddUpdateCommand(CLI::App* app, Context* context) {
  auto options = std::make_shared<UpdateCommand>();
  CLI::App* command =
      app->add_subcommand("update", "Change metadata of stored pictures by id or filter");
  command->fallthrough();
  command->add_option("ID", options->ids, "Ids");
  command->add_option("--filter", options->filter, "Change what matches this filter");
  command
      ->add_option("--set", options->set,
                   "Set a key; VALUE is JSON, or text where it is none. May be repeated")
      ->type_name("KEY=VALUE")
      ->allow_extra_args(false);
  command->add_option("--unset", options->unset, "Take a key away. May be repeated")
      ->type_name("KEY")
      ->allow_extra_args(false);
  command
      ->add_option("--patch", options->patch,
                   "A JSON merge patch (RFC 7396): null takes a key away, objects merge")
      ->type_name("JSON");
  OnRun(command, context, [=] { return RunUpdate(*context, *options); });
}

}  // namespace imagesearch::client
