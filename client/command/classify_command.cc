// `imagesearch classify`: the most probable of given labels, for picture files or stored pictures.
#include <iostream>
#include <memory>
#include <optional>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/error.h"
#include "client/command/context.h"
#include "client/command/output.h"
#include "client/picture/prepare.h"
#include "client/status.h"

namespace imagesearch::client {
namespace {

constexpr int kIdsAtOnce = 500;  // of one call; the server takes at most 1,000

struct ClassifyCommand {
  std::vector<std::string> labels;
  std::string labels_file;
  std::vector<std::string> templates;
  std::vector<std::string> images;
  std::vector<std::string> ids;
  std::optional<std::string> filter;
  bool all = false;
  int top = 3;
  std::string write_field;
};

// Gathers what the calls answer.
class Results {
 public:
  explicit Results(const Context& context) : context_(context) {}

  void Add(const std::string& name, const v1::Classification& result) {
    if (result.status().code() != 0) {
      failed_ = true;
      const absl::Status status = FromItem(result.status());
      std::cerr << "imagesearch: " << name << ": " << status.message() << " [" << ReasonOf(status)
                << "]\n";
      return;
    }
    if (context_.json) {
      Json labels = Json::array();
      for (const v1::LabelProbability& label : result.labels()) {
        labels.push_back({{"label", label.label()},
                          {"probability", label.probability()},
                          {"score", label.score()}});
      }
      json_.push_back({{result.id().empty() ? "path" : "id", name}, {"labels", std::move(labels)}});
      return;
    }
    std::string line = ShownText(Shorten(name, 64));
    for (const v1::LabelProbability& label : result.labels()) {
      line += absl::StrFormat("  %s %.1f %%", label.label(), 100 * label.probability());
    }
    std::cout << line << "\n";
  }
  void AddUpdated(uint64_t updated) { updated_ += updated; }

  int Finish(bool writes) {
    if (context_.json) {
      Json all = {{"results", std::move(json_)}};
      if (writes) all["updated"] = updated_;
      PrintJson(all);
    } else if (writes) {
      std::cout << "updated " << HumanCount(updated_) << "\n";
    }
    return failed_ ? kExitSomeFailed : kExitOk;
  }

 private:
  const Context& context_;
  Json json_ = Json::array();
  uint64_t updated_ = 0;
  bool failed_ = false;
};

absl::StatusOr<std::vector<std::string>> ReadLabels(const ClassifyCommand& options) {
  std::vector<std::string> labels = options.labels;
  if (options.labels_file.empty()) return labels;
  auto text = ReadFile(options.labels_file);
  if (!text.ok()) return text.status();
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty()) labels.push_back(line);
  }
  return labels;
}

int ClassifyFiles(const Context& context, const Client& client, const ClassifyCommand& options,
                  v1::ClassifyRequest request, Results* results) {
  for (const std::string& path : options.images) {
    auto bytes = ReadFile(path);
    if (!bytes.ok()) return Fail(context, bytes.status());
    auto prepared = PreparePicture(*std::move(bytes), PictureLimits());
    if (!prepared.ok()) return Fail(context, prepared.status());
    request.set_image(prepared->bytes);
    auto response = client.Classify(request);
    if (!response.ok()) return Fail(context, response.status());
    results->Add(path, response->results(0));
  }
  return results->Finish(false);
}

int RunClassify(const Context& context, const ClassifyCommand& options) {
  const bool by_filter = options.all || options.filter;
  if (!options.images.empty() + !options.ids.empty() + by_filter != 1) {
    std::cerr << "imagesearch classify: give one of --image, --id, --filter and --all\n";
    return kExitUsage;
  }
  auto labels = ReadLabels(options);
  if (!labels.ok()) return Fail(context, labels.status());
  if (labels->empty()) {
    std::cerr << "imagesearch classify: give labels, as arguments or by --labels FILE\n";
    return kExitUsage;
  }
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  v1::ClassifyRequest request;
  request.set_collection(context.collection);
  for (const std::string& label : *labels) request.add_labels(label);
  for (const std::string& form : options.templates) request.add_templates(form);
  request.set_top(options.top);
  Results results(context);
  if (!options.images.empty()) {
    return ClassifyFiles(context, **client, options, std::move(request), &results);
  }
  request.set_write_field(options.write_field);
  request.set_by_filter(by_filter);
  request.set_filter(options.filter.value_or(""));
  request.set_page_size(kIdsAtOnce);
  size_t start = 0;
  while (true) {
    request.clear_ids();
    const size_t end = std::min(start + kIdsAtOnce, options.ids.size());
    for (size_t i = start; i < end; ++i) request.add_ids(options.ids[i]);
    auto response = (*client)->Classify(request);
    if (!response.ok()) return Fail(context, response.status());
    for (const v1::Classification& result : response->results()) results.Add(result.id(), result);
    results.AddUpdated(response->updated());
    start = end;
    request.set_page_token(response->next_page_token());
    if (by_filter ? response->next_page_token().empty() : start == options.ids.size()) break;
  }
  return results.Finish(!options.write_field.empty());
}

}  // namespace

void AddClassifyCommand(CLI::App* app, Context* context) {
  auto options = std::make_shared<ClassifyCommand>();
  CLI::App* command =
      app->add_subcommand("classify", "Probabilities of labels, for files or stored pictures");
  command->fallthrough();
  command->add_option("LABEL", options->labels, "Labels");
  command->add_option("--labels", options->labels_file, "Labels, one a line")->type_name("FILE");
  command
      ->add_option("--template", options->templates,
                   "Prompt with {} for the label; can be given again, then their vectors are "
                   "averaged (default: a photo of a {}.)")
      ->allow_extra_args(false);
  command->add_option("--image", options->images, "Picture files; can be given again")
      ->type_name("FILE")
      ->allow_extra_args(false);
  command->add_option("--id", options->ids, "Stored pictures; can be given again")
      ->allow_extra_args(false);
  command->add_option("--filter", options->filter, "Stored pictures that match this filter");
  command->add_flag("--all", options->all, "The whole collection");
  command->add_option("--top", options->top, "Labels to show for each picture")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command
      ->add_option("--write", options->write_field,
                   "Store the best label under this metadata key, its probability under "
                   "KEY_probability")
      ->type_name("KEY");
  OnRun(command, context, [=] { return RunClassify(*context, *options); });
}

}  // namespace imagesearch::client
