// What every verb of the `imagesearch` command shares: global options, exit codes, the connection.
#ifndef IMAGESEARCH_CLIENT_COMMAND_CONTEXT_H_
#define IMAGESEARCH_CLIENT_COMMAND_CONTEXT_H_

#include <functional>
#include <memory>
#include <string>

#include "CLI/CLI.hpp"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/client.h"

namespace imagesearch::client {

// Documented in `imagesearch --help` and in README.md; scripts depend on them.
enum ExitCode {
  kExitOk = 0,
  kExitSomeFailed = 1,   // the command ran, and some images (or ids) failed
  kExitUsage = 2,        // wrong arguments
  kExitUnreachable = 3,  // no server there, not ready, or no answer within --timeout
  kExitRefused = 4,      // the server refused the request; the reason is printed
  kExitServerFault = 5,  // the server failed (INTERNAL, DATA_LOSS, ...)
  kExitLocal = 6,        // a local file could not be read or written
};

// Filled by the parser before a verb runs.
struct Context {
  ClientOptions client;
  std::string collection = "default";
  double timeout_seconds = 30;
  bool json = false;
  int exit_code = kExitOk;

  // The connection; does not call the server yet.
  absl::StatusOr<std::unique_ptr<Client>> Connect() const;
};

// A file of this machine that could not be read or written; exits with kExitLocal.
absl::Status LocalFileError(absl::string_view path, absl::string_view what);

// Prints the error to stderr (as JSON with --output json) and returns its exit code.
int Fail(const Context& context, const absl::Status& status);

// Runs `verb` when the parser meets `command`, and keeps its exit code.
void OnRun(CLI::App* command, Context* context, std::function<int()> verb);

absl::StatusOr<std::string> ReadFile(const std::string& path);
absl::Status WriteFile(const std::string& path, absl::string_view content);

// Each adds its verbs to the parser.
void AddSearchCommands(CLI::App* app, Context* context);
void AddImageCommands(CLI::App* app, Context* context);
void AddAdminCommands(CLI::App* app, Context* context);
void AddAliasCommands(CLI::App* app, Context* context);
void AddModelCommands(CLI::App* app, Context* context);
void AddOperationCommands(CLI::App* app, Context* context);
void AddIndexCommand(CLI::App* app, Context* context);
void AddTransferCommands(CLI::App* app, Context* context);
void AddClassifyCommand(CLI::App* app, Context* context);
void AddDuplicatesCommand(CLI::App* app, Context* context);
void AddUpdateCommand(CLI::App* app, Context* context);
void AddEvaluateCommand(CLI::App* app, Context* context);
void AddKeyCommands(CLI::App* app, Context* context);
void AddDiagnoseCommand(CLI::App* app, Context* context);

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_COMMAND_CONTEXT_H_
