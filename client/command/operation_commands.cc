// `imagesearch operations`, and the verbs that start them: backup, compact, reembed.
#include <chrono>
#include <functional>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/error.h"
#include "client/command/context.h"
#include "client/command/output.h"

namespace imagesearch::client {
namespace {

constexpr std::chrono::milliseconds kPoll(500);

std::string Lower(const std::string& name) { return absl::AsciiStrToLower(name); }

std::string TimeText(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0) return "";
  return absl::FormatTime(absl::RFC3339_sec, absl::FromUnixSeconds(time.seconds()),
                          absl::UTCTimeZone());
}

Json ToJson(const v1::Operation& operation) {
  return {{"id", operation.id()},
          {"kind", v1::Operation::Kind_Name(operation.kind())},
          {"collection", operation.collection()},
          {"state", v1::Operation::State_Name(operation.state())},
          {"done", operation.done()},
          {"total", operation.total()},
          {"detail", operation.detail()},
          {"error",
           {{"code", operation.error().code()},
            {"reason", operation.error().reason()},
            {"message", operation.error().message()}}},
          {"create_time", TimeText(operation.create_time())},
          {"end_time", TimeText(operation.end_time())}};
}

void PrintOperations(const Context& context, const std::vector<v1::Operation>& operations) {
  if (context.json) {
    Json list = Json::array();
    for (const auto& operation : operations) list.push_back(ToJson(operation));
    return PrintJson({{"operations", std::move(list)}});
  }
  Table table(
      {{"id"}, {"collection"}, {"state"}, {"done", Table::Align::kRight}, {"began"}, {"detail"}});
  for (const auto& operation : operations) {
    const bool failed = operation.state() == v1::Operation::FAILED;
    table.AddRow(
        {operation.id(), operation.collection().empty() ? "-" : operation.collection(),
         Lower(v1::Operation::State_Name(operation.state())),
         operation.total() == 0 ? ""
                                : absl::StrCat(100 * operation.done() / operation.total(), " %"),
         TimeText(operation.create_time()),
         failed ? absl::StrCat(operation.error().reason(), ": ", operation.error().message())
                : operation.detail()});
  }
  table.Print(std::cout);
}

bool HasEnded(const v1::Operation& operation) {
  return operation.state() != v1::Operation::RUNNING;
}

// Until it has ended, or waits for somebody.
int Await(const Context& context, const Client& client, v1::Operation operation) {
  v1::GetOperationRequest request;
  request.set_id(operation.id());
  while (!HasEnded(operation)) {
    std::this_thread::sleep_for(kPoll);
    auto now = client.GetOperation(request);
    if (!now.ok()) return Fail(context, now.status());
    operation = *std::move(now);
  }
  PrintOperations(context, {operation});
  return operation.state() == v1::Operation::SUCCEEDED ? kExitOk : kExitRefused;
}

int Give(const Context& context, const Client& client,
         const absl::StatusOr<v1::Operation>& operation, bool wait) {
  if (!operation.ok()) return Fail(context, operation.status());
  if (wait) return Await(context, client, *operation);
  PrintOperations(context, {*operation});
  return kExitOk;
}

using Start = std::function<absl::StatusOr<v1::Operation>(const Client& client)>;

// A verb that starts an operation, with --wait.
CLI::App* AddStart(CLI::App* app, Context* context, const char* name, const char* help,
                   Start start) {
  CLI::App* command = app->add_subcommand(name, help);
  command->fallthrough();
  auto wait = std::make_shared<bool>(false);
  command->add_flag("--wait", *wait, "Until it has ended (exit code 4 when it failed)");
  OnRun(command, context, [context, wait, start = std::move(start)]() -> int {
    auto client = context->Connect();
    if (!client.ok()) return Fail(*context, client.status());
    return Give(*context, **client, start(**client), *wait);
  });
  return command;
}

int RunList(const Context& context, const std::string& collection) {
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  v1::ListOperationsRequest request;
  request.set_collection(collection);
  auto response = (*client)->ListOperations(request);
  if (!response.ok()) return Fail(context, response.status());
  PrintOperations(context, {response->operations().begin(), response->operations().end()});
  return kExitOk;
}

void AddOperations(CLI::App* app, Context* context) {
  CLI::App* operations = app->add_subcommand(
      "operations", "Work in the background: list, show, wait, cancel, pause, resume");
  operations->fallthrough();
  OnRun(operations, context, [context, operations] {
    return operations->get_subcommands().empty() ? RunList(*context, "") : context->exit_code;
  });
  auto collection = std::make_shared<std::string>();
  CLI::App* list = operations->add_subcommand("list", "The newest first (also without a verb)");
  list->fallthrough();
  list->add_option("COLLECTION", *collection, "Only those of this collection");
  OnRun(list, context, [=] { return RunList(*context, *collection); });

  auto id = std::make_shared<std::string>();
  const auto add = [&](const char* name, const char* help, bool wait, auto call) {
    CLI::App* command = operations->add_subcommand(name, help);
    command->fallthrough();
    command->add_option("ID", *id, "Of the operation")->required();
    OnRun(command, context, [=]() -> int {
      auto client = context->Connect();
      if (!client.ok()) return Fail(*context, client.status());
      return Give(*context, **client, call(**client, *id), wait);
    });
  };
  const auto get = [](const Client& client, const std::string& id) {
    v1::GetOperationRequest request;
    request.set_id(id);
    return client.GetOperation(request);
  };
  add("show", "One operation", false, get);
  add("wait", "Until it has ended (exit code 4 when it failed)", true, get);
  add("cancel", "End it; nothing half-made stays", false,
      [](const Client& client, const std::string& id) {
        v1::CancelOperationRequest request;
        request.set_id(id);
        return client.CancelOperation(request);
      });
  add("pause", "Pause a re-embedding", false, [](const Client& client, const std::string& id) {
    v1::PauseOperationRequest request;
    request.set_id(id);
    return client.PauseOperation(request);
  });
  add("resume", "Let it go on", false, [](const Client& client, const std::string& id) {
    v1::ResumeOperationRequest request;
    request.set_id(id);
    return client.ResumeOperation(request);
  });
}

template <typename Response>
int Done(const Context& context, const absl::StatusOr<Response>& response,
         const std::string& said) {
  if (!response.ok()) return Fail(context, response.status());
  if (context.json) {
    PrintJson({{"version", response->version()}});
  } else {
    std::cout << said << "\n";
  }
  return kExitOk;
}

void AddReembed(CLI::App* app, Context* context) {
  auto collection = std::make_shared<std::string>();
  auto request = std::make_shared<v1::ReembedRequest>();
  auto model = std::make_shared<std::string>();
  auto leave_out = std::make_shared<bool>(false);
  auto rollback = std::make_shared<bool>(false);
  auto discard = std::make_shared<bool>(false);
  auto finish = std::make_shared<bool>(false);
  auto wait = std::make_shared<bool>(false);
  CLI::App* command = app->add_subcommand(
      "reembed", "Move a collection to another model while it serves; roll back; finish");
  command->fallthrough();
  command->add_option("COLLECTION", *collection, "The collection")->required();
  command->add_option("--model", *model, "A loaded model (default: the server's default)");
  command->add_flag("--leave-out-missing", *leave_out,
                    "Leave images without a picture out instead of stopping before the switch");
  command->add_flag("--wait", *wait, "Until it has ended, or waits (exit code 4 when it failed)");
  CLI::Option* back =
      command->add_flag("--rollback", *rollback, "Let the vectors of before serve again");
  command->add_flag("--discard-writes", *discard,
                    "With --rollback: although images were written since the switch");
  command->add_flag("--finish", *finish, "Drop the vectors of before, which are kept")
      ->excludes(back);
  OnRun(command, context, [=]() -> int {
    auto client = context->Connect();
    if (!client.ok()) return Fail(*context, client.status());
    if (*rollback) {
      v1::RollbackReembedRequest back;
      back.set_collection(*collection);
      back.set_discard_writes(*discard);
      return Done(*context, (*client)->RollbackReembed(back),
                  *collection + " has the vectors of before again");
    }
    if (*finish) {
      v1::FinishReembedRequest last;
      last.set_collection(*collection);
      return Done(*context, (*client)->FinishReembed(last),
                  "dropped the earlier vectors of " + *collection);
    }
    request->set_collection(*collection);
    request->set_model(*model);
    request->set_leave_out_missing(*leave_out);
    return Give(*context, **client, (*client)->Reembed(*request), *wait);
  });
}

}  // namespace

void AddOperationCommands(CLI::App* app, Context* context) {
  AddOperations(app, context);
  auto name = std::make_shared<std::string>();
  CLI::App* backup =
      AddStart(app, context, "backup", "Back everything up into the server's --backup-dir",
               [name](const Client& client) {
                 v1::CreateBackupRequest request;
                 request.set_name(*name);
                 return client.CreateBackup(request);
               });
  backup->add_option("NAME", *name, "Of the new folder (default: the time)");
  auto collection = std::make_shared<std::string>();
  CLI::App* compact =
      AddStart(app, context, "compact", "Build the best index and give unused space back",
               [collection](const Client& client) {
                 v1::CompactRequest request;
                 request.set_collection(*collection);
                 return client.Compact(request);
               });
  compact->add_option("COLLECTION", *collection, "Only this one (default: all)");
  AddReembed(app, context);
}

}  // namespace imagesearch::client
