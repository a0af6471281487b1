// `imagesearch get`, `delete`, `count` and `list`: stored images by id or filter.
#include <iostream>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "client/command/context.h"
#include "client/command/output.h"
#include "client/status.h"

namespace imagesearch::client {
namespace {

constexpr int kIdsAtOnce = 500;  // of one call; the server takes at most 1,000

struct ImageOptions {
  std::vector<std::string> ids;
  std::string filter;
  bool with_vector = false;
  std::string originals;  // folder
  int limit = 0;
};

void PrintImages(const Context& context, const Json& images, const std::vector<Json>& rows) {
  if (context.json) return PrintJson({{"images", images}});
  Table table({{"id"}, {"path"}, {"metadata"}});
  for (const Json& image : rows) {
    Json rest = image["metadata"];
    std::string path;
    if (rest.contains("path") && rest["path"].is_string()) {
      path = ShownPath(rest["path"].get<std::string>());
      rest.erase("path");
    }
    table.AddRow({Shorten(image["id"].get<std::string>(), 64), path,
                  rest.empty() ? "" : Shorten(Dump(rest), 100)});
  }
  table.Print(std::cout);
}

// The original as a file named by its content hash; the type is for whoever opens it to tell.
absl::Status WriteOriginal(const std::string& folder, const v1::StoredImage& image) {
  if (image.original().empty()) {
    return Error(absl::StatusCode::kNotFound, "NO_ORIGINAL",
                 "its upload isn't kept (collections create --keep-originals)");
  }
  return WriteFile(absl::StrCat(folder, "/", image.content_hash()), image.original());
}

int RunGet(const Context& context, const ImageOptions& options) {
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  Json images = Json::array();
  std::vector<Json> rows;
  bool missing = false;
  // Uploads may be as large as a message.
  const size_t at_once = options.originals.empty() ? kIdsAtOnce : 1;
  for (size_t start = 0; start < options.ids.size(); start += at_once) {
    v1::GetRequest request;
    request.set_collection(context.collection);
    request.set_without_vector(!options.with_vector);
    request.set_with_original(!options.originals.empty());
    const size_t end = std::min(start + at_once, options.ids.size());
    for (size_t i = start; i < end; ++i) request.add_ids(options.ids[i]);
    auto response = (*client)->Get(request);
    if (at_once == 1 && ReasonOf(response.status()) == "NOT_FOUND") {
      missing = true;
      std::cerr << "imagesearch: " << options.ids[start] << ": no such picture [NOT_FOUND]\n";
      continue;
    }
    if (!response.ok()) return Fail(context, response.status());
    for (const v1::StoredImage& image : response->images()) {
      if (!options.originals.empty()) {
        const absl::Status written = WriteOriginal(options.originals, image);
        if (absl::IsNotFound(written)) {
          missing = true;
          std::cerr << "imagesearch: " << image.id() << ": " << written.message() << " ["
                    << ReasonOf(written) << "]\n";
        } else if (!written.ok()) {
          return Fail(context, written);
        }
      }
      images.push_back(ToJson(image));
      rows.push_back(images.back());
    }
    for (int i = 0; i < response->results_size(); ++i) {
      if (response->results(i).code() == 0) continue;
      missing = true;
      const absl::Status status = FromItem(response->results(i));
      std::cerr << "imagesearch: " << request.ids(i) << ": " << status.message() << " ["
                << ReasonOf(status) << "]\n";
    }
  }
  if (context.json || !rows.empty()) PrintImages(context, images, rows);
  return missing ? kExitSomeFailed : kExitOk;
}

int RunDelete(const Context& context, const ImageOptions& options) {
  if (options.ids.empty() == options.filter.empty()) {
    std::cerr << "imagesearch delete: give ids or --filter, one of the two\n";
    return kExitUsage;
  }
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  uint64_t deleted = 0;
  uint64_t version = 0;
  size_t start = 0;
  do {  // once for a filter
    v1::DeleteRequest request;
    request.set_collection(context.collection);
    request.set_filter(options.filter);
    const size_t end = std::min(start + kIdsAtOnce, options.ids.size());
    for (size_t i = start; i < end; ++i) request.add_ids(options.ids[i]);
    auto response = (*client)->Delete(request);
    if (!response.ok()) return Fail(context, response.status());
    deleted += response->deleted();
    version = response->version();
    start = end;
  } while (start < options.ids.size());
  if (context.json) {
    PrintJson({{"deleted", deleted}, {"version", version}});
  } else {
    std::cout << "deleted " << HumanCount(deleted) << "\n";
  }
  return kExitOk;
}

int RunCount(const Context& context, const ImageOptions& options) {
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  v1::CountRequest request;
  request.set_collection(context.collection);
  request.set_filter(options.filter);
  for (const std::string& id : options.ids) request.add_ids(id);
  auto response = (*client)->Count(request);
  if (!response.ok()) return Fail(context, response.status());
  if (context.json) {
    PrintJson({{"count", response->count()}, {"version", response->version()}});
  } else {
    std::cout << response->count() << "\n";
  }
  return kExitOk;
}

int RunList(const Context& context, const ImageOptions& options) {
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  v1::ListRequest request;
  request.set_collection(context.collection);
  request.set_filter(options.filter);
  request.set_without_vector(!options.with_vector);
  Json images = Json::array();
  std::vector<Json> rows;
  while (true) {
    const int left = options.limit - static_cast<int>(rows.size());
    request.set_page_size(options.limit > 0 ? std::min(left, 500) : 500);
    auto response = (*client)->List(request);
    if (!response.ok()) return Fail(context, response.status());
    for (const v1::StoredImage& image : response->images()) {
      images.push_back(ToJson(image));
      rows.push_back(images.back());
    }
    request.set_page_token(response->next_page_token());
    if (response->next_page_token().empty()) break;
    if (options.limit > 0 && static_cast<int>(rows.size()) >= options.limit) break;
  }
  PrintImages(context, images, rows);
  return kExitOk;
}

}  // namespace

void AddImageCommands(CLI::App* app, Context* context) {
  const auto add = [&](const char* name, const char* help,
                       int (*run)(const Context&, const ImageOptions&)) {
    auto options = std::make_shared<ImageOptions>();
    CLI::App* command = app->add_subcommand(name, help);
    command->fallthrough();
    OnRun(command, context, [=] { return run(*context, *options); });
    return std::pair{command, options};
  };
  {
    auto [command, options] = add("get", "Show stored pictures by id", RunGet);
    command->add_option("ID", options->ids, "Ids")->required();
    command->add_flag("--with-vector", options->with_vector, "Vectors too (with --output json)");
    command
        ->add_option("--originals", options->originals,
                     "Write the kept uploads into this folder, named by their content hash")
        ->type_name("DIR");
  }
  {
    auto [command, options] = add("delete", "Delete pictures by id or filter", RunDelete);
    command->add_option("ID", options->ids, "Ids");
    command->add_option("--filter", options->filter, "Delete what matches this filter");
  }
  {
    auto [command, options] = add("count", "Count pictures: all, by filter or by id", RunCount);
    command->add_option("ID", options->ids, "Count which of these ids exist");
    command->add_option("--filter", options->filter, "Count what matches this filter");
  }
  {
    auto [command, options] = add("list", "List pictures in the order of their ids", RunList);
    command->add_option("--filter", options->filter, "Only what matches this filter");
    command->add_option("-n,--limit", options->limit, "At most this many (0: all)")
        ->capture_default_str();
    command->add_flag("--with-vector", options->with_vector, "Vectors too (with --output json)");
  }
}

}  // namespace imagesearch::client
