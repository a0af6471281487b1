// The `imagesearch` command: global options, verbs, exit codes.
#include <iostream>

#include "client/command/context.h"

namespace {

constexpr char kFooter[] = R"(
Global options are accepted before and after the verb.

Exit codes:
  0  done
  1  done, but some pictures (or ids) failed; each is reported
  2  wrong arguments
  3  no server there, not ready, or no answer within --timeout
  4  the server refused the request; the reason is printed
  5  the server failed
  6  a local file could not be read or written

Examples:
  imagesearch index ~/Pictures
  imagesearch search "a dog on a beach"
  imagesearch search --image cat.jpg --limit 5 --html hits.html
  imagesearch search "2:golden retriever" + ./pool.jpg - fruit
  imagesearch --collection art count)";

}  // namespace

int main(int argc, char** argv) {
  using namespace imagesearch::client;
  Context context;
  CLI::App app("Index and find pictures on an imagesearchd server.", "imagesearch");
  app.set_version_flag("--version", std::string("imagesearch " IMAGESEARCH_VERSION));
  app.footer(kFooter);
  app.require_subcommand(1);
  app.set_help_all_flag("--help-all", "Help on every verb");

  ChannelOptions& channel = context.client.channel;
  app.add_option("--server", channel.target, "The server's gRPC address")
      ->envname("IMAGESEARCH_SERVER")
      ->type_name("HOST:PORT")
      ->capture_default_str();
  app.add_option("--collection", context.collection, "The collection to work on")
      ->envname("IMAGESEARCH_COLLECTION")
      ->type_name("NAME")
      ->capture_default_str();
  app.add_option_function<std::string>(
         "--output", [&context](const std::string& form) { context.json = form == "json"; },
         "table (for people) or json (for programs)")
      ->check(CLI::IsMember({"table", "json"}))
      ->default_str("table");
  app.add_option("--timeout", context.timeout_seconds, "Seconds that one call may take")
      ->check(CLI::PositiveNumber)
      ->capture_default_str();
  app.add_option("--token", context.client.token, "Access key, where the server asks for one")
      ->envname("IMAGESEARCH_TOKEN");
  app.add_flag("--tls", channel.tls, "Connect over TLS");
  app.add_option("--tls-ca", channel.ca_file, "PEM file to check the server's certificate with")
      ->type_name("FILE");
  app.add_option("--tls-cert", channel.certificate_file, "PEM file: this client's certificate")
      ->type_name("FILE");
  app.add_option("--tls-key", channel.key_file, "PEM file: the key of --tls-cert")
      ->type_name("FILE");
  app.add_option("--tls-server-name", channel.tls_server_name,
                 "Name expected in the server's certificate");
  app.add_flag("--round-robin", channel.round_robin,
               "Spread calls over every address that the server's name resolves to");

  AddIndexCommand(&app, &context);
  AddSearchCommands(&app, &context);
  AddImageCommands(&app, &context);
  AddClassifyCommand(&app, &context);
  AddDuplicatesCommand(&app, &context);
  AddUpdateCommand(&app, &context);
  AddAdminCommands(&app, &context);
  AddAliasCommands(&app, &context);
  AddModelCommands(&app, &context);
  AddOperationCommands(&app, &context);
  AddTransferCommands(&app, &context);
  AddEvaluateCommand(&app, &context);
  AddKeyCommands(&app, &context);
  AddDiagnoseCommand(&app, &context);

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // Help and version end here too, with 0.
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  return context.exit_code;
}
