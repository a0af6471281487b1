// `imagesearch diagnose`: what a bug report needs, in one text file, without secrets.
#include <sys/utsname.h>

#include <algorithm>
#include <deque>
#include <fstream>
#include <iostream>
#include <memory>
#include <regex>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/command/context.h"
#include "client/command/output.h"
#include "google/protobuf/util/json_util.h"
#include "httplib.h"

namespace imagesearch::client {
namespace {

struct DiagnoseArguments {
  std::string report = "imagesearch-report.txt";
  std::string metrics;  // URL
  std::string log;
  int log_lines = 300;
};

// Keys never get into logs; should a line hold one all the same, it does not get into the report.
std::string Redacted(const std::string& line) {
  static const auto* secret = new std::regex("isk_[0-9a-f]{12}_[A-Za-z0-9_-]+|[Bb]earer +[^ \"]+");
  return std::regex_replace(line, *secret, "[secret]");
}

std::string Heading(absl::string_view title) { return absl::StrCat("\n== ", title, "\n"); }

std::string ToText(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.preserve_proto_field_names = true;
  std::string json;
  const auto status = google::protobuf::util::MessageToJsonString(message, &json, options);
  return status.ok() ? json : absl::StrCat(status.ToString(), "\n");
}

std::string ThisMachine() {
  std::string out = absl::StrCat("cores ", std::thread::hardware_concurrency(), "\n");
  utsname name;
  if (uname(&name) == 0) {
    absl::StrAppend(&out, name.sysname, " ", name.release, " ", name.machine, "\n");
  }
  std::ifstream release("/etc/os-release"), memory("/proc/meminfo");
  for (std::string line; std::getline(release, line);) {
    if (absl::StartsWith(line, "PRETTY_NAME=")) absl::StrAppend(&out, line, "\n");
  }
  for (std::string line; std::getline(memory, line);) {
    if (absl::StartsWith(line, "Mem")) absl::StrAppend(&out, line, "\n");
  }
  return out;
}

std::string ServerText(Client& client) {
  std::string out;
  for (int i = 0; i < 5; ++i) {
    const absl::Time start = absl::Now();
    auto info = client.GetServerInfo();
    if (!info.ok()) return absl::StrCat(out, info.status().ToString(), "\n");
    absl::StrAppend(&out, "GetServerInfo took ", absl::FormatDuration(absl::Now() - start), "\n");
    if (i == 4) absl::StrAppend(&out, ToText(*info));
  }
  return out;
}

std::string MetricsText(const Context& context, const std::string& url) {
  const size_t scheme = url.find("://");
  const size_t slash = scheme == std::string::npos ? scheme : url.find('/', scheme + 3);
  if (scheme == std::string::npos) return "--metrics takes a URL, http://HOST:PORT/metrics\n";
  httplib::Client client(url.substr(0, slash));
  client.set_connection_timeout(10);
  client.set_read_timeout(30);
  const ChannelOptions& channel = context.client.channel;
  if (!channel.ca_file.empty()) client.set_ca_cert_path(channel.ca_file.c_str());
  if (!context.client.token.empty()) client.set_bearer_token_auth(context.client.token.c_str());
  const auto reply =
      client.Get(slash == std::string::npos ? "/metrics" : url.substr(slash).c_str());
  if (!reply) return absl::StrCat("no answer: ", httplib::to_string(reply.error()), "\n");
  return reply->status == 200 ? reply->body : absl::StrCat("status ", reply->status, "\n");
}

absl::StatusOr<std::string> LogTail(const std::string& path, int lines) {
  std::ifstream file(path);
  if (!file) return LocalFileError(path, "can't be opened");
  std::deque<std::string> tail;
  for (std::string line; std::getline(file, line);) {
    tail.push_back(Redacted(line));
    if (static_cast<int>(tail.size()) > lines) tail.pop_front();
  }
  std::string out;
  for (const std::string& line : tail) absl::StrAppend(&out, line, "\n");
  return out;
}

int Diagnose(const Context& context, const DiagnoseArguments& arguments) {
  std::string report =
      absl::StrCat("imagesearch report, ", absl::FormatTime(absl::Now(), absl::UTCTimeZone()),
                   "\nclient ", IMAGESEARCH_VERSION, "\nserver ", context.client.channel.target,
                   context.client.channel.tls ? " over TLS" : " without TLS",
                   context.client.token.empty() ? ", without a key" : ", with a key", "\n");
  absl::StrAppend(&report, Heading("This machine"), ThisMachine());
  auto client = context.Connect();
  if (!client.ok()) return Fail(context, client.status());
  absl::StrAppend(&report, Heading("Server"), ServerText(**client));
  auto collections = (*client)->ListCollections({});
  absl::StrAppend(&report, Heading("Collections"),
                  collections.ok() ? ToText(*collections)
                                   : absl::StrCat(collections.status().ToString(), "\n"));
  if (!arguments.metrics.empty()) {
    absl::StrAppend(&report, Heading("Metrics"), MetricsText(context, arguments.metrics));
  }
  if (!arguments.log.empty()) {
    absl::StatusOr<std::string> tail = LogTail(arguments.log, arguments.log_lines);
    if (!tail.ok()) return Fail(context, tail.status());
    absl::StrAppend(&report, Heading("Server's log"), *tail);
  }
  absl::Status written = WriteFile(arguments.report, report);
  if (!written.ok()) return Fail(context, written);
  std::cout << arguments.report << ": read it before you send it; names of collections, ids and "
            << "addresses are in it, pictures, texts and keys are not\n";
  return kExitOk;
}

}  // namespace

void AddDiagnoseCommand(CLI::App* app, Context* context) {
  CLI::App* diagnose = app->add_subcommand(
      "diagnose",
      "Collect what a bug report needs, without secrets: server, collections, metrics, log");
  auto arguments = std::make_shared<DiagnoseArguments>();
  diagnose->add_option("--report", arguments->report, "Where to write it")
      ->type_name("FILE")
      ->capture_default_str();
  diagnose->add_option("--metrics", arguments->metrics, "The server's metrics")->type_name("URL");
  diagnose->add_option("--log", arguments->log, "The server's log")->type_name("FILE");
  diagnose->add_option("--log-lines", arguments->log_lines, "Its last lines")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  OnRun(diagnose, context, [context, arguments] { return Diagnose(*context, *arguments); });
}

}  // namespace imagesearch::client
