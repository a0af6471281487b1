// `imagesearch key`: makes, lists and revokes the API keys of a server's key file. Works on the
// file; a running server reads it again by itself.
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/api_key.h"
#include "client/command/context.h"
#include "client/command/output.h"

namespace imagesearch::client {
namespace {

struct KeyArguments {
  std::string file = "keys.json";
  std::string name;
  std::string scope = "read";
  std::vector<std::string> collections;
  double per_second = 0;
  int concurrent = 0;
  double days = 0;
  std::string id;
};

absl::StatusOr<std::vector<ApiKeyEntry>> ReadKeys(const std::string& path, bool may_be_missing) {
  if (may_be_missing && !std::filesystem::exists(path)) return std::vector<ApiKeyEntry>();
  absl::StatusOr<std::string> text = ReadFile(path);
  if (!text.ok()) return text.status();
  return ParseApiKeyFile(*text);
}

// Whole or not at all, and for its owner and group only: the server may read it at any moment.
// Keeps the owner and mode of a file that is there.
absl::Status WriteKeys(const std::string& path, const std::vector<ApiKeyEntry>& entries) {
  struct stat before;
  const bool existed = stat(path.c_str(), &before) == 0;
  const std::string draft = absl::StrCat(path, ".", getpid());
  const int file = open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                        existed ? before.st_mode & 0777 : 0640);
  if (file < 0) return LocalFileError(draft, std::strerror(errno));
  const std::string text = FormatApiKeyFile(entries);
  bool good = write(file, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (existed && fchown(file, before.st_uid, before.st_gid) != 0) errno = 0;  // needs root
  good = good && fsync(file) == 0;
  good = close(file) == 0 && good;
  if (good && std::rename(draft.c_str(), path.c_str()) == 0) return absl::OkStatus();
  const std::string cause = std::strerror(errno);
  std::remove(draft.c_str());
  return LocalFileError(path, cause);
}

int Create(const Context& context, const KeyArguments& arguments) {
  absl::StatusOr<std::vector<ApiKeyEntry>> entries = ReadKeys(arguments.file, true);
  if (!entries.ok()) return Fail(context, entries.status());
  absl::StatusOr<NewApiKey> made = MakeApiKey(arguments.name, *ParseKeyScope(arguments.scope));
  if (!made.ok()) return Fail(context, made.status());
  made->entry.collections = arguments.collections;
  made->entry.per_second = arguments.per_second;
  made->entry.concurrent = arguments.concurrent;
  if (arguments.days > 0) made->entry.expires = absl::Now() + arguments.days * absl::Hours(24);
  entries->push_back(made->entry);
  absl::Status status = WriteKeys(arguments.file, *entries);
  if (!status.ok()) return Fail(context, status);
  if (context.json) {
    PrintJson({{"id", made->entry.id}, {"key", made->secret}});
  } else {
    std::cout << made->secret << "\n";
    std::cerr << "imagesearch: this is the only time that the key is shown; " << arguments.file
              << " holds its hash\n";
  }
  return kExitOk;
}

int List(const Context& context, const KeyArguments& arguments) {
  absl::StatusOr<std::vector<ApiKeyEntry>> entries = ReadKeys(arguments.file, false);
  if (!entries.ok()) return Fail(context, entries.status());
  Table table({{"id"}, {"name"}, {"scope"}, {"collections"}, {"limits"}, {"expires"}});
  for (const ApiKeyEntry& entry : *entries) {
    const std::string expires =
        entry.expires == absl::InfiniteFuture()
            ? ""
            : absl::FormatTime(absl::RFC3339_sec, entry.expires, absl::UTCTimeZone());
    if (context.json) {
      PrintJson({{"id", entry.id},
                 {"name", entry.name},
                 {"scope", std::string(KeyScopeName(entry.scope))},
                 {"collections", entry.collections},
                 {"per_second", entry.per_second},
                 {"concurrent", entry.concurrent},
                 {"expires", expires}});
      continue;
    }
    std::string limits;
    if (entry.per_second > 0) absl::StrAppend(&limits, entry.per_second, "/s ");
    if (entry.concurrent > 0) absl::StrAppend(&limits, entry.concurrent, " calls");
    table.AddRow({entry.id, entry.name, std::string(KeyScopeName(entry.scope)),
                  absl::StrJoin(entry.collections, ","), limits, expires});
  }
  if (!context.json) table.Print(std::cout);
  return kExitOk;
}

int Revoke(const Context& context, const KeyArguments& arguments) {
  absl::StatusOr<std::vector<ApiKeyEntry>> entries = ReadKeys(arguments.file, false);
  if (!entries.ok()) return Fail(context, entries.status());
  const auto end = std::remove_if(entries->begin(), entries->end(), [&](const ApiKeyEntry& entry) {
    return entry.id == arguments.id;
  });
  if (end == entries->end()) {
    return Fail(context, absl::NotFoundError(absl::StrCat("no key with id ", arguments.id, " in ",
                                                          arguments.file)));
  }
  entries->erase(end, entries->end());
  absl::Status status = WriteKeys(arguments.file, *entries);
  return status.ok() ? kExitOk : Fail(context, status);
}

}  // namespace

void AddKeyCommands(CLI::App* app, Context* context) {
  CLI::App* key =
      app->add_subcommand("key", "Make, list and revoke API keys (imagesearchd --api-keys FILE)");
  key->require_subcommand(1);
  auto arguments = std::make_shared<KeyArguments>();
  key->add_option("--file", arguments->file, "The server's key file; made when missing")
      ->type_name("FILE")
      ->capture_default_str();

  CLI::App* create = key->add_subcommand("create", "Print a new key, and add its hash to the file");
  create->add_option("name", arguments->name, "For whom, for lists and logs")->required();
  create->add_option("--scope", arguments->scope, "read, write (and read) or admin (and both)")
      ->check(CLI::IsMember({"read", "write", "admin"}))
      ->capture_default_str();
  create->add_option("--collections", arguments->collections, "Only these; else all")
      ->delimiter(',')
      ->type_name("NAME,...");
  create->add_option("--per-second", arguments->per_second, "Items (searches, images) a second")
      ->check(CLI::PositiveNumber);
  create->add_option("--concurrent", arguments->concurrent, "Calls at a time")
      ->check(CLI::Range(1, 1000000));
  create->add_option("--days", arguments->days, "Days until it expires; else never")
      ->check(CLI::PositiveNumber);
  OnRun(create, context, [context, arguments] { return Create(*context, *arguments); });

  CLI::App* list = key->add_subcommand("list", "Id, scope, name and restrictions of each key");
  OnRun(list, context, [context, arguments] { return List(*context, *arguments); });

  CLI::App* revoke = key->add_subcommand("revoke", "Take a key out of the file");
  revoke->add_option("id", arguments->id, "The 12 digits in the middle of the key")->required();
  OnRun(revoke, context, [context, arguments] { return Revoke(*context, *arguments); });
}

}  // namespace imagesearch::client
