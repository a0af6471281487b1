// `imagesearch collections`, `info` and `health`.
#include <algorithm>
#include <iostream>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/error.h"
#include "client/command/context.h"
#include "client/command/output.h"

namespace imagesearch::client {
namespace {

struct CollectionOptions {
  std::string name;
  std::string kind = "auto";
  int dimension = 0;
  v1::Index index;
  int hnsw_m = 0, ef_construction = 0, ef_search = 0, nlist = 0, nprobe = 0, pq_bytes = 0;
  uint64_t memory_bytes = 0;
  std::optional<float> target_recall;
  std::string model;
  std::optional<uint64_t> max_images, max_bytes;
  std::optional<bool> keep_originals;
};

// What the command line says of the quota, over `quota`.
void ApplyQuota(const CollectionOptions& options, v1::Quota* quota) {
  if (options.max_images) quota->set_max_images(*options.max_images);
  if (options.max_bytes) quota->set_max_bytes(*options.max_bytes);
}

void PrintCollections(const Context& context, const std::vector<v1::Collection>& collections) {
  if (context.json) {
    Json list = Json::array();
    for (const auto& collection : collections) list.push_back(ToJson(collection));
    return PrintJson({{"collections", std::move(list)}});
  }
  Table table({{"name"},
               {"images", Table::Align::kRight},
               {"index"},
               {"dimension", Table::Align::kRight},
               {"model"},
               {"disk", Table::Align::kRight},
               {"memory", Table::Align::kRight},
               {"recall text/image", Table::Align::kRight}});
  const auto recall = [](bool known, double value) {
    return known ? absl::StrFormat("%.3f", value) : std::string("-");
  };
  for (const auto& collection : collections) {
    std::string kind = v1::Index::Kind_Name(collection.index().kind());
    if (collection.serving_kind() != collection.index().kind()) {
      absl::StrAppend(&kind, " (", v1::Index::Kind_Name(collection.serving_kind()), ")");
    }
    if (collection.serving_pq_bytes() > 0) {
      absl::StrAppend(&kind, " PQ", collection.serving_pq_bytes());
    }
    const uint64_t budget = collection.index().memory_bytes();
    if (budget > 0 && collection.index_bytes() > budget) absl::StrAppend(&kind, " over budget");
    table.AddRow({collection.name(), HumanCount(collection.image_count()), kind,
                  absl::StrCat(collection.dimension()),
                  collection.model_id().empty() ? "-" : collection.model_id(),
                  HumanBytes(collection.disk_bytes()), HumanBytes(collection.memory_bytes()),
                  recall(collection.has_recall_text(), collection.recall_text()) + " / " +
                      recall(collection.has_recall_image(), collection.recall_image())});
  }
  table.Print(std::cout);
}

int RunListCollections(const Context& context) {
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  auto response = (*client)->ListCollections({});
  if (!response.ok()) return Fail(context, response.status());
  PrintCollections(context, {response->collections().begin(), response->collections().end()});
  return kExitOk;
}

int RunShow(const Context& context, const CollectionOptions& options) {
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  v1::GetCollectionRequest request;
  request.set_collection(options.name);
  auto response = (*client)->GetCollection(request);
  if (!response.ok()) return Fail(context, response.status());
  PrintCollections(context, {response->collection()});
  return kExitOk;
}

int RunCreate(const Context& context, const CollectionOptions& options) {
  v1::CreateCollectionRequest request;
  v1::Collection* collection = request.mutable_collection();
  collection->set_name(options.name);
  collection->set_dimension(options.dimension);
  collection->set_keep_originals(options.keep_originals.value_or(false));
  v1::Index* index = collection->mutable_index();
  v1::Index::Kind kind = v1::Index::AUTO;
  v1::Index::Kind_Parse(absl::AsciiStrToUpper(options.kind), &kind);  // checked by the parser
  index->set_kind(kind);
  index->set_hnsw_m(options.hnsw_m);
  index->set_hnsw_ef_construction(options.ef_construction);
  index->set_hnsw_ef_search(options.ef_search);
  index->set_ivf_nlist(options.nlist);
  index->set_ivf_nprobe(options.nprobe);
  index->set_target_recall(options.target_recall.value_or(0));
  index->set_pq_bytes(options.pq_bytes);
  index->set_memory_bytes(options.memory_bytes);
  collection->set_model_id(options.model);
  ApplyQuota(options, collection->mutable_quota());
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  auto response = (*client)->CreateCollection(request);
  if (!response.ok()) return Fail(context, response.status());
  PrintCollections(context, {response->collection()});
  return kExitOk;
}

int RunUpdate(const Context& context, const CollectionOptions& options) {
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  v1::UpdateCollectionRequest request;
  request.set_collection(options.name);
  if (options.max_images || options.max_bytes) {
    v1::GetCollectionRequest get;  // the limit that is not given stays
    get.set_collection(options.name);
    auto now = (*client)->GetCollection(get);
    if (!now.ok()) return Fail(context, now.status());
    *request.mutable_quota() = now->collection().quota();
    ApplyQuota(options, request.mutable_quota());
  }
  if (options.keep_originals) request.set_keep_originals(*options.keep_originals);
  if (options.target_recall) request.set_target_recall(*options.target_recall);
  auto response = (*client)->UpdateCollection(request);
  if (!response.ok()) return Fail(context, response.status());
  PrintCollections(context, {response->collection()});
  return kExitOk;
}

int RunDeleteCollection(const Context& context, const CollectionOptions& options) {
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  v1::DeleteCollectionRequest request;
  request.set_collection(options.name);
  auto response = (*client)->DeleteCollection(request);
  if (!response.ok()) return Fail(context, response.status());
  if (context.json) {
    PrintJson({{"version", response->version()}});
  } else {
    std::cout << "deleted the collection " << options.name << "\n";
  }
  return kExitOk;
}

int RunInfo(const Context& context) {
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  auto info = (*client)->GetServerInfo();
  if (!info.ok()) return Fail(context, info.status());
  const v1::Model& model = info->model();
  const v1::Limits& limits = info->limits();
  const std::string started = absl::FormatTime(
      absl::RFC3339_sec, absl::FromUnixSeconds(info->start_time().seconds()), absl::UTCTimeZone());
  if (context.json) {
    PrintJson({{"server_version", info->server_version()},
               {"ready", info->ready()},
               {"progress", info->progress()},
               {"start_time", started},
               {"role", info->role()},
               {"writer", info->writer()},
               {"instance_id", info->instance_id()},
               {"version", info->version()},
               {"model",
                {{"id", model.id()},
                 {"dimension", model.dimension()},
                 {"fingerprint", model.fingerprint()},
                 {"precision", model.precision()},
                 {"precision_reason", model.precision_reason()},
                 {"image_size", model.image_size()},
                 {"context_length", model.context_length()}}},
               {"simd_level", info->simd_level()},
               {"encoder_threads", info->encoder_threads()},
               {"limits",
                {{"max_message_bytes", limits.max_message_bytes()},
                 {"max_image_pixels", limits.max_image_pixels()},
                 {"max_image_side", limits.max_image_side()},
                 {"max_limit", limits.max_limit()},
                 {"max_offset", limits.max_offset()},
                 {"max_id_bytes", limits.max_id_bytes()},
                 {"max_metadata_bytes", limits.max_metadata_bytes()},
                 {"max_metadata_keys", limits.max_metadata_keys()},
                 {"max_text_bytes", limits.max_text_bytes()},
                 {"max_filter_bytes", limits.max_filter_bytes()},
                 {"max_query_terms", limits.max_query_terms()},
                 {"max_upsert_images", limits.max_upsert_images()},
                 {"max_search_batch", limits.max_search_batch()},
                 {"max_encode_inputs", limits.max_encode_inputs()},
                 {"max_reply_bytes", limits.max_reply_bytes()}}}});
    return kExitOk;
  }
  Table table({{"server"}, {context.client.channel.target}});
  table.AddRow({"version", info->server_version()});
  table.AddRow({"ready", info->ready() ? "yes" : absl::StrCat("no: ", info->progress())});
  table.AddRow({"started", started});
  table.AddRow({"role", info->writer().empty()
                            ? info->role()
                            : absl::StrCat(info->role(), " of the writer at ", info->writer())});
  table.AddRow({"data folder", info->instance_id()});
  table.AddRow({"newest write", absl::StrCat(info->version())});
  table.AddRow(
      {"model", absl::StrCat(model.id(), ", ", model.dimension(), " dimensions, ",
                             model.image_size(), " px, ", model.context_length(), " tokens")});
  table.AddRow({"precision", absl::StrCat(model.precision(), " (", model.precision_reason(), ")")});
  table.AddRow({"threads", absl::StrCat(info->encoder_threads())});
  table.AddRow({"vector kernels", info->simd_level()});
  table.AddRow({"limits", absl::StrCat("message ", HumanBytes(limits.max_message_bytes()),
                                       ", image ", limits.max_image_pixels() / 1'000'000,
                                       " Mpx and ", limits.max_image_side(), " px a side, ",
                                       limits.max_limit(), " hits")});
  table.Print(std::cout);
  return kExitOk;
}

int RunHealth(const Context& context, const std::string& service) {
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  auto serving = (*client)->IsServing(service);
  if (!serving.ok()) return Fail(context, serving.status());
  if (context.json) {
    PrintJson({{"service", service}, {"serving", *serving}});
  } else {
    std::cout << service << ": " << (*serving ? "SERVING" : "NOT_SERVING") << "\n";
  }
  return *serving ? kExitOk : kExitUnreachable;
}

}  // namespace

void AddAdminCommands(CLI::App* app, Context* context) {
  CLI::App* collections = app->add_subcommand("collections", "List, create, show, update, delete");
  collections->fallthrough();
  OnRun(collections, context, [context, collections] {
    // The verbs below have run by now.
    return collections->get_subcommands().empty() ? RunListCollections(*context)
                                                  : context->exit_code;
  });
  CLI::App* list = collections->add_subcommand("list", "All collections (also without a verb)");
  list->fallthrough();
  OnRun(list, context, [context] { return RunListCollections(*context); });

  const auto add = [&](const char* name, const char* help,
                       int (*run)(const Context&, const CollectionOptions&)) {
    auto options = std::make_shared<CollectionOptions>();
    CLI::App* command = collections->add_subcommand(name, help);
    command->fallthrough();
    command->add_option("NAME", options->name, "1 to 64 of a-z 0-9 _ -")->required();
    OnRun(command, context, [=] { return run(*context, *options); });
    return std::pair{command, options};
  };
  add("show", "One collection", RunShow);
  add("delete", "Delete a collection and its pictures", RunDeleteCollection);
  auto [create, options] = add("create", "Create a collection", RunCreate);
  create->add_option("--index", options->kind, "auto, flat (exact), hnsw or ivf")
      ->check(CLI::IsMember({"auto", "flat", "hnsw", "ivf"}, CLI::ignore_case))
      ->capture_default_str();
  create->add_option("--dimension", options->dimension,
                     "A collection of ready vectors of this length, without a model");
  create->add_option("--hnsw-m", options->hnsw_m, "HNSW: links per node (0: default)");
  create->add_option("--hnsw-ef-construction", options->ef_construction,
                     "HNSW: candidates while building (0: default)");
  create->add_option("--hnsw-ef-search", options->ef_search,
                     "HNSW: candidates while searching (0: chosen for the recall)");
  create->add_option("--ivf-nlist", options->nlist, "IVF: lists (0: chosen)");
  create->add_option("--ivf-nprobe", options->nprobe, "IVF: lists probed (0: chosen)");
  create->add_option("--pq-bytes", options->pq_bytes,
                     "IVF: bytes of a product-quantised code, a divisor of the dimension (0: codes "
                     "of 8 bits a value)");
  create
      ->add_option("--index-memory", options->memory_bytes,
                   "AUTO: memory for codes, links and lists; 500MB, 2GiB, ... (0: no bound)")
      ->transform(CLI::AsSizeValue(false));
  create->add_option("--model", options->model,
                     "One of the server's models, by name or id (default: the server's default)");
  auto [update, changes] = add("update", "Change limits and settings of a collection", RunUpdate);
  for (const auto& [command, values] : {std::pair{create, options}, std::pair{update, changes}}) {
    command->add_flag_function(
        "--keep-originals,!--no-keep-originals",
        [values = values](int64_t count) { values->keep_originals = count > 0; },
        "Keep the uploaded files, to get them back and to show them on the page");
    command->add_option("--target-recall", values->target_recall,
                        "Recall@10 that answers are tuned to (0: default 0.95)");
    command->add_option("--max-images", values->max_images,
                        "Images it may hold (0: no limit); more are refused with QUOTA");
    command
        ->add_option("--max-bytes", values->max_bytes,
                     "Bytes it may hold: ids, vectors, metadata, originals; 10MiB, 2GB, ...")
        ->transform(CLI::AsSizeValue(false));
  }

  CLI::App* info = app->add_subcommand("info", "Show the server: version, model, limits");
  info->fallthrough();
  OnRun(info, context, [context] { return RunInfo(*context); });

  auto service = std::make_shared<std::string>("ready");
  CLI::App* health = app->add_subcommand("health", "Exit with 0 when the server is ready");
  health->fallthrough();
  health->add_option("SERVICE", *service, "ready or live")->capture_default_str();
  OnRun(health, context, [context, service] { return RunHealth(*context, *service); });
}

}  // namespace imagesearch::client
