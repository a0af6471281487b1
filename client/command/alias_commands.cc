// `imagesearch alias`: names that stand for collections.
#include <iostream>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/command/context.h"
#include "client/command/output.h"

namespace imagesearch::client {
namespace {

int RunList(const Context& context) {
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  auto response = (*client)->ListAliases();
  if (!response.ok()) return Fail(context, response.status());
  if (context.json) {
    Json list = Json::array();
    for (const auto& alias : response->aliases()) {
      list.push_back({{"alias", alias.alias()}, {"collection", alias.collection()}});
    }
    PrintJson({{"aliases", std::move(list)}});
    return kExitOk;
  }
  Table table({{"alias"}, {"collection"}});
  for (const auto& alias : response->aliases()) table.AddRow({alias.alias(), alias.collection()});
  table.Print(std::cout);
  return kExitOk;
}

int RunSet(const Context& context, const std::string& alias, const std::string& collection) {
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  v1::SetAliasRequest request;
  request.set_alias(alias);
  request.set_collection(collection);
  auto response = (*client)->SetAlias(request);
  if (!response.ok()) return Fail(context, response.status());
  if (context.json) {
    PrintJson({{"version", response->version()}});
  } else {
    std::cout << alias << " stands for " << collection << "\n";
  }
  return kExitOk;
}

int RunDelete(const Context& context, const std::string& alias) {
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  v1::DeleteAliasRequest request;
  request.set_alias(alias);
  auto response = (*client)->DeleteAlias(request);
  if (!response.ok()) return Fail(context, response.status());
  if (context.json) {
    PrintJson({{"version", response->version()}});
  } else {
    std::cout << "deleted the alias " << alias << "\n";
  }
  return kExitOk;
}

}  // namespace

void AddAliasCommands(CLI::App* app, Context* context) {
  CLI::App* aliases =
      app->add_subcommand("alias", "Names that stand for collections and switch at once");
  aliases->fallthrough();
  OnRun(aliases, context, [context, aliases] {
    return aliases->get_subcommands().empty() ? RunList(*context) : context->exit_code;
  });
  CLI::App* list = aliases->add_subcommand("list", "All aliases (also without a verb)");
  list->fallthrough();
  OnRun(list, context, [context] { return RunList(*context); });

  auto alias = std::make_shared<std::string>();
  auto collection = std::make_shared<std::string>();
  CLI::App* set = aliases->add_subcommand("set", "Make a name stand for a collection");
  set->fallthrough();
  set->add_option("ALIAS", *alias, "1 to 64 of a-z 0-9 _ -")->required();
  set->add_option("COLLECTION", *collection, "The collection it stands for")->required();
  OnRun(set, context, [=] { return RunSet(*context, *alias, *collection); });

  CLI::App* remove = aliases->add_subcommand("delete", "Delete an alias; its collection stays");
  remove->fallthrough();
  remove->add_option("ALIAS", *alias, "The alias")->required();
  OnRun(remove, context, [=] { return RunDelete(*context, *alias); });
}

}  // namespace imagesearch::client
