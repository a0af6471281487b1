// Reads the configuration: one description (config/server_config.proto) drives flags, environment,
// file, --help and the table in docs/operations.md.
#ifndef IMAGESEARCH_SERVER_CONFIG_CONFIG_H_
#define IMAGESEARCH_SERVER_CONFIG_CONFIG_H_

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "server/config/server_config.pb.h"

namespace imagesearch::server {

// What to do, and with which settings.
struct CommandLine {
  enum class Action { kServe, kHelp, kHelpMarkdown, kVersion };
  Action action = Action::kServe;
  ServerConfig config;
};

using GetEnv = std::function<std::optional<std::string>(const std::string& name)>;

// `arguments` are those after the program's name. Precedence: flag, then environment, then the file
// of --config FILE (or IMAGESEARCH_CONFIG), then the default. INVALID_ARGUMENT names the flag,
// variable or line that is wrong, and the values allowed.
absl::StatusOr<CommandLine> ReadConfig(const std::vector<std::string>& arguments,
                                       const GetEnv& get_env);

// For --help: every flag with its default.
std::string HelpText();

// The same as a Markdown table with flag, environment variable, default, range and meaning.
std::string HelpMarkdown();

}  // namespace imagesearch::server

#endif  // IMAGESEARCH_SERVER_CONFIG_CONFIG_H_
