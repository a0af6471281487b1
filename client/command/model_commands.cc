// `imagesearch models`: what is loaded, load, unload.
#include <iostream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/command/context.h"
#include "client/command/output.h"

namespace imagesearch::client {
namespace {

int RunList(const Context& context) {
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  auto response = (*client)->ListModels({});
  if (!response.ok()) return Fail(context, response.status());
  if (context.json) {
    Json list = Json::array();
    for (const auto& model : response->models()) {
      list.push_back({{"id", model.model().id()},
                      {"fingerprint", model.model().fingerprint()},
                      {"dimension", model.model().dimension()},
                      {"precision", model.model().precision()},
                      {"is_default", model.is_default()},
                      {"memory_bytes", model.memory_bytes()},
                      {"collections", std::vector<std::string>(model.collections().begin(),
                                                               model.collections().end())}});
    }
    PrintJson({{"models", std::move(list)},
               {"available", std::vector<std::string>(response->available().begin(),
                                                      response->available().end())}});
    return kExitOk;
  }
  Table table({{"model"},
               {"dimension", Table::Align::kRight},
               {"precision"},
               {"memory", Table::Align::kRight},
               {"collections"}});
  for (const auto& model : response->models()) {
    table.AddRow({absl::StrCat(model.model().id(), model.is_default() ? " (default)" : ""),
                  absl::StrCat(model.model().dimension()), model.model().precision(),
                  HumanBytes(model.memory_bytes()), absl::StrJoin(model.collections(), " ")});
  }
  table.Print(std::cout);
  if (!response->available().empty()) {
    std::cout << "can be loaded: " << absl::StrJoin(response->available(), " ") << "\n";
  }
  return kExitOk;
}

int RunLoad(const Context& context, const v1::LoadModelRequest& request) {
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  auto response = (*client)->LoadModel(request);
  if (!response.ok()) return Fail(context, response.status());
  if (context.json) {
    PrintJson({{"id", response->model().id()},
               {"estimated_bytes", response->estimated_bytes()},
               {"available_bytes", response->available_bytes()},
               {"memory_bytes", response->memory_bytes()}});
    return kExitOk;
  }
  std::cout << "loading takes about " << HumanBytes(response->estimated_bytes()) << " of "
            << HumanBytes(response->available_bytes()) << " available\n";
  if (response->has_model()) {
    std::cout << "loaded " << response->model().id() << ", " << HumanBytes(response->memory_bytes())
              << " of weights\n";
  }
  return kExitOk;
}

int RunUnload(const Context& context, const std::string& name) {
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  v1::UnloadModelRequest request;
  request.set_model(name);
  auto response = (*client)->UnloadModel(request);
  if (!response.ok()) return Fail(context, response.status());
  if (context.json) {
    PrintJson({{"freed_bytes", response->freed_bytes()}});
  } else {
    std::cout << "unloaded " << name << ", " << HumanBytes(response->freed_bytes()) << "\n";
  }
  return kExitOk;
}

}  // namespace

void AddModelCommands(CLI::App* app, Context* context) {
  CLI::App* models = app->add_subcommand("models", "List, load, unload");
  models->fallthrough();
  OnRun(models, context, [context, models] {
    return models->get_subcommands().empty() ? RunList(*context) : context->exit_code;
  });
  CLI::App* list = models->add_subcommand("list", "All models (also without a verb)");
  list->fallthrough();
  OnRun(list, context, [context] { return RunList(*context); });

  auto name = std::make_shared<std::string>();
  auto precision = std::make_shared<std::string>();
  auto check = std::make_shared<bool>(false);
  CLI::App* load = models->add_subcommand("load", "Load a checkpoint of the server's --models-dir");
  load->fallthrough();
  load->add_option("NAME", *name, "Of its folder")->required();
  load->add_option("--precision", *precision, "auto, fp32, bf16, fp16 or int8");
  load->add_flag("--check", *check, "Only tell what memory it would take");
  OnRun(load, context, [=] {
    v1::LoadModelRequest request;
    request.set_name(*name);
    request.set_precision(*precision);
    request.set_check_only(*check);
    return RunLoad(*context, request);
  });
  CLI::App* unload = models->add_subcommand("unload", "Give a model's memory back");
  unload->fallthrough();
  unload->add_option("MODEL", *name, "Its id, or the part before @")->required();
  OnRun(unload, context, [=] { return RunUnload(*context, *name); });
}

}  // namespace imagesearch::client
