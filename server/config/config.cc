// Flags, environment and file onto the fields of ServerConfig by reflection.
#include "server/config/config.h"

#include <fstream>
#include <sstream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/io/tokenizer.h"
#include "google/protobuf/text_format.h"

namespace imagesearch::server {
namespace {

using google::protobuf::FieldDescriptor;

const Setting& SettingOf(const FieldDescriptor& field) {
  return field.options().GetExtension(setting);
}

std::string FlagName(const FieldDescriptor& field) {
  return absl::StrCat("--", absl::StrReplaceAll(field.name(), {{"_", "-"}}));
}

std::string EnvName(const FieldDescriptor& field) {
  return absl::StrCat("IMAGESEARCH_", absl::AsciiStrToUpper(field.name()));
}

const FieldDescriptor* FieldOfFlag(absl::string_view flag) {
  return ServerConfig::descriptor()->FindFieldByName(absl::StrReplaceAll(flag, {{"-", "_"}}));
}

std::string Number(double value) {
  return value == static_cast<int64_t>(value) ? absl::StrCat(static_cast<int64_t>(value))
                                              : absl::StrCat(value);
}

// In words, for messages and the table: "1 to 64", "auto, fp32 or int8".
std::string Allowed(const FieldDescriptor& field) {
  const Setting& options = SettingOf(field);
  if (field.cpp_type() == FieldDescriptor::CPPTYPE_BOOL) return "true, false";
  if (options.has_choices()) return absl::StrReplaceAll(options.choices(), {{"|", ", "}});
  if (options.has_min()) return absl::StrCat(Number(options.min()), " to ", Number(options.max()));
  return "";
}

std::string DefaultText(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL:
      return field.default_value_bool() ? "true" : "false";
    case FieldDescriptor::CPPTYPE_INT32:
      return absl::StrCat(field.default_value_int32());
    case FieldDescriptor::CPPTYPE_INT64:
      return absl::StrCat(field.default_value_int64());
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return absl::StrCat(field.default_value_double());
    default:
      return field.default_value_string();
  }
}

absl::Status Wrong(const FieldDescriptor& field, absl::string_view source,
                   absl::string_view value) {
  const std::string allowed = Allowed(field);
  return absl::InvalidArgumentError(absl::StrCat(source, ": \"", value, "\" is not allowed",
                                                 allowed.empty() ? "" : "; give ", allowed));
}

absl::Status CheckBounds(const FieldDescriptor& field, const ServerConfig& config,
                         absl::string_view source) {
  const Setting& options = SettingOf(field);
  const auto* reflection = config.GetReflection();
  double number = 0;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      number = reflection->GetInt32(config, &field);
      break;
    case FieldDescriptor::CPPTYPE_INT64:
      number = static_cast<double>(reflection->GetInt64(config, &field));
      break;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      number = reflection->GetDouble(config, &field);
      break;
    case FieldDescriptor::CPPTYPE_STRING: {
      if (!options.has_choices()) return absl::OkStatus();
      const std::string value = reflection->GetString(config, &field);
      for (absl::string_view choice : absl::StrSplit(options.choices(), '|')) {
        if (choice == value) return absl::OkStatus();
      }
      return Wrong(field, source, value);
    }
    default:
      return absl::OkStatus();
  }
  if (options.has_min() && !(number >= options.min() && number <= options.max())) {
    return Wrong(field, source, Number(number));
  }
  return absl::OkStatus();
}

// Parses `text` into the field. `source` names where it came from.
absl::Status SetField(const FieldDescriptor& field, absl::string_view text,
                      absl::string_view source, ServerConfig* config) {
  const auto* reflection = config->GetReflection();
  bool parsed = true;
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_BOOL: {
      bool value = false;
      parsed = absl::SimpleAtob(text, &value);
      if (parsed) reflection->SetBool(config, &field, value);
      break;
    }
    case FieldDescriptor::CPPTYPE_INT32: {
      int32_t value = 0;
      parsed = absl::SimpleAtoi(text, &value);
      if (parsed) reflection->SetInt32(config, &field, value);
      break;
    }
    case FieldDescriptor::CPPTYPE_INT64: {
      int64_t value = 0;
      parsed = absl::SimpleAtoi(text, &value);
      if (parsed) reflection->SetInt64(config, &field, value);
      break;
    }
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      double value = 0;
      parsed = absl::SimpleAtod(text, &value);
      if (parsed) reflection->SetDouble(config, &field, value);
      break;
    }
    default:
      reflection->SetString(config, &field, std::string(text));
  }
  if (!parsed) return Wrong(field, source, text);
  return CheckBounds(field, *config, source);
}

class FirstError : public google::protobuf::io::ErrorCollector {
 public:
  void AddError(int line, int column, const std::string& message) override {
    if (text.empty())
      text = absl::StrCat("line ", line + 1, ", column ", column + 1, ": ", message);
  }
  std::string text;
};

absl::Status ReadFile(const std::string& path, ServerConfig* config) {
  std::ifstream file(path);
  std::stringstream content;
  if (!file || !(content << file.rdbuf())) {
    return absl::InvalidArgumentError(absl::StrCat("--config: ", path, " can't be read"));
  }
  google::protobuf::TextFormat::Parser parser;
  FirstError error;
  parser.RecordErrorsTo(&error);
  if (!parser.ParseFromString(content.str(), config)) {
    return absl::InvalidArgumentError(absl::StrCat("--config: ", path, ", ", error.text));
  }
  const auto* descriptor = ServerConfig::descriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor& field = *descriptor->field(i);
    absl::Status status = CheckBounds(field, *config, absl::StrCat(path, ": ", field.name()));
    if (!status.ok()) return status;
  }
  return absl::OkStatus();
}

struct Flag {
  const FieldDescriptor* field;
  std::string name, value;
};

// Splits the arguments into flags; sets `action` and `file` for those that are not settings.
absl::Status ReadFlags(const std::vector<std::string>& arguments, CommandLine::Action* action,
                       std::string* file, std::vector<Flag>* flags) {
  for (size_t i = 0; i < arguments.size(); ++i) {
    absl::string_view argument = arguments[i];
    if (!absl::ConsumePrefix(&argument, "--") || argument.empty()) {
      return absl::InvalidArgumentError(
          absl::StrCat("\"", arguments[i], "\" is not a flag; --help lists them"));
    }
    if (argument == "help") *action = CommandLine::Action::kHelp;
    if (argument == "help-markdown") *action = CommandLine::Action::kHelpMarkdown;
    if (argument == "version") *action = CommandLine::Action::kVersion;
    if (*action != CommandLine::Action::kServe) return absl::OkStatus();

    const size_t equals = argument.find('=');
    const std::string name(argument.substr(0, equals));
    std::optional<std::string> value;
    if (equals != absl::string_view::npos) value = std::string(argument.substr(equals + 1));
    absl::string_view bare = name;
    const FieldDescriptor* field = name == "config" ? nullptr : FieldOfFlag(name);
    if (field == nullptr && absl::ConsumePrefix(&bare, "no-") && !value) {
      field = FieldOfFlag(bare);
      if (field != nullptr && field->cpp_type() != FieldDescriptor::CPPTYPE_BOOL) field = nullptr;
      value = "false";
    }
    if (field == nullptr && name != "config") {
      return absl::InvalidArgumentError(
          absl::StrCat("--", name, " is not a flag; --help lists them"));
    }
    if (!value && field != nullptr && field->cpp_type() == FieldDescriptor::CPPTYPE_BOOL) {
      value = "true";
    }
    if (!value) {
      if (i + 1 == arguments.size()) {
        return absl::InvalidArgumentError(absl::StrCat("--", name, " needs a value"));
      }
      value = arguments[++i];
    }
    if (field == nullptr) {
      *file = *value;
    } else {
      flags->push_back({field, absl::StrCat("--", name), *value});
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<CommandLine> ReadConfig(const std::vector<std::string>& arguments,
                                       const GetEnv& get_env) {
  CommandLine result;
  std::vector<Flag> flags;
  std::string file = get_env("IMAGESEARCH_CONFIG").value_or("");
  absl::Status status = ReadFlags(arguments, &result.action, &file, &flags);
  if (!status.ok()) return status;
  if (result.action != CommandLine::Action::kServe) return result;
  if (!file.empty()) {
    status = ReadFile(file, &result.config);
    if (!status.ok()) return status;
  }
  const auto* descriptor = ServerConfig::descriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor& field = *descriptor->field(i);
    if (auto value = get_env(EnvName(field))) {
      status = SetField(field, *value, EnvName(field), &result.config);
      if (!status.ok()) return status;
    }
  }
  for (const Flag& flag : flags) {
    status = SetField(*flag.field, flag.value, flag.name, &result.config);
    if (!status.ok()) return status;
  }
  return result;
}

std::string HelpText() {
  std::string out =
      "imagesearchd: finds pictures by text and by picture, over gRPC.\n\n"
      "Usage: imagesearchd --data-dir DIR --listen HOST:PORT [flags]\n\n"
      "Every flag is also an environment variable (--data-dir: IMAGESEARCH_DATA_DIR) and a field "
      "of\n"
      "the file given by --config (data_dir: \"...\"). Flag > environment > file > default. "
      "Switches\n"
      "take --flag, --flag=false or --no-flag.\n\n"
      "  --config FILE   settings in protobuf text format\n"
      "  --version       prints the version\n"
      "  --help          prints this\n";
  const auto* descriptor = ServerConfig::descriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor& field = *descriptor->field(i);
    const Setting& options = SettingOf(field);
    if (options.has_section()) absl::StrAppend(&out, "\n", options.section(), ":\n");
    std::string notes;
    if (!DefaultText(field).empty()) notes = absl::StrCat(" [", DefaultText(field), "]");
    const std::string allowed = Allowed(field);
    if (options.has_min() || options.has_choices()) absl::StrAppend(&notes, " (", allowed, ")");
    absl::StrAppend(&out, "  ", FlagName(field), notes, "\n      ", options.help(), "\n");
  }
  absl::StrAppend(
      &out,
      "\nExit codes: 0 stopped by a signal after draining; 1 could not start or lost its "
      "data folder; 2 wrong flags.\n");
  return out;
}

std::string HelpMarkdown() {
  std::string out;
  const auto* descriptor = ServerConfig::descriptor();
  for (int i = 0; i < descriptor->field_count(); ++i) {
    const FieldDescriptor& field = *descriptor->field(i);
    const Setting& options = SettingOf(field);
    if (options.has_section()) {
      absl::StrAppend(
          &out, i == 0 ? "" : "\n", "**", options.section(),
          "**\n\n| flag | environment | default | allowed | meaning |\n|---|---|---|---|---|\n");
    }
    const std::string value = DefaultText(field);
    absl::StrAppend(&out, "| `", FlagName(field), "` | `", EnvName(field), "` | ",
                    value.empty() ? "" : absl::StrCat("`", value, "`"), " | ", Allowed(field),
                    " | ", absl::StrReplaceAll(options.help(), {{"|", "\\|"}}), " |\n");
  }
  return out;
}

}  // namespace imagesearch::server
