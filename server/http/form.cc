// Field paths resolved by reflection.
#include "server/http/form.h"

#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/error.h"
#include "server/http/json.h"
#include "server/utf8.h"

namespace imagesearch::server {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

absl::Status PartError(absl::string_view part, absl::string_view message) {
  const absl::string_view shown = part.size() <= 64 && IsUtf8(part) ? part : "(unreadable name)";
  return InvalidArgument("BAD_FORM", absl::StrCat("form part \"", shown, "\": ", message));
}

const FieldDescriptor* FindField(const Descriptor* type, absl::string_view name) {
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* field = type->field(i);
    if (field->name() == name || field->json_name() == name) return field;
  }
  return nullptr;
}

// One step of a path: `name` or `name[index]`.
struct Step {
  const FieldDescriptor* field = nullptr;
  std::optional<int> index;
};

absl::Status ReadStep(const Message& message, absl::string_view text, absl::string_view part,
                      Step* step) {
  absl::string_view name = text;
  const size_t bracket = text.find('[');
  if (bracket != absl::string_view::npos) {
    int index = 0;
    if (text.back() != ']' ||
        !absl::SimpleAtoi(text.substr(bracket + 1, text.size() - bracket - 2), &index)) {
      return PartError(part, "an index is written [n]");
    }
    name = text.substr(0, bracket);
    step->index = index;
  }
  step->field = FindField(message.GetDescriptor(), name);
  if (step->field == nullptr) {
    return PartError(part, absl::StrCat(message.GetDescriptor()->name(), " has no such field"));
  }
  if (step->index.has_value() && (!step->field->is_repeated() || step->field->is_map())) {
    return PartError(part, "only lists take an index");
  }
  if (step->index.has_value()) {
    const int size = message.GetReflection()->FieldSize(message, step->field);
    if (*step->index < 0 || *step->index > size) {
      return PartError(part, absl::StrCat("the list has ", size, " entries so far"));
    }
  }
  return absl::OkStatus();
}

absl::Status SetScalar(Message* message, const FieldDescriptor* field, absl::string_view part,
                       const std::string& content) {
  const Reflection* reflection = message->GetReflection();
  const auto bad = [&](absl::string_view type) {
    return PartError(part, absl::StrCat("is not ", type));
  };
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      if (field->type() == FieldDescriptor::TYPE_STRING && !IsUtf8(content)) {
        return bad("valid UTF-8");
      }
      reflection->SetString(message, field, content);
      return absl::OkStatus();
    case FieldDescriptor::CPPTYPE_BOOL: {
      if (content != "true" && content != "false") return bad("true or false");
      reflection->SetBool(message, field, content == "true");
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_INT32: {
      int32_t value = 0;
      if (!absl::SimpleAtoi(content, &value)) return bad("a whole number of 32 bits");
      reflection->SetInt32(message, field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_UINT64: {
      uint64_t value = 0;
      if (!absl::SimpleAtoi(content, &value)) return bad("a whole number of 64 bits, not negative");
      reflection->SetUInt64(message, field, value);
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_FLOAT: {
      float value = 0;
      if (!absl::SimpleAtof(content, &value)) return bad("a number");
      reflection->SetFloat(message, field, value);
      return absl::OkStatus();
    }
    default:
      return PartError(part, "this field can only be given inside the part \"request\", as JSON");
  }
}

absl::Status SetField(Message* message, absl::string_view part, const std::string& content) {
  const std::vector<absl::string_view> path = absl::StrSplit(part, '.');
  for (size_t i = 0; i < path.size(); ++i) {
    Step step;
    if (absl::Status status = ReadStep(*message, path[i], part, &step); !status.ok()) return status;
    const Reflection* reflection = message->GetReflection();
    const bool last = i + 1 == path.size();
    if (step.field->is_repeated() && !step.index.has_value()) {
      return PartError(
          part, absl::StrCat(step.field->name(), " is a list: write ", step.field->name(), "[n]"));
    }
    if (step.field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE) {
      Message* next;
      if (!step.index.has_value()) {
        next = reflection->MutableMessage(message, step.field);
      } else if (*step.index == reflection->FieldSize(*message, step.field)) {
        next = reflection->AddMessage(message, step.field);
      } else {
        next = reflection->MutableRepeatedMessage(message, step.field, *step.index);
      }
      if (last) {
        const absl::Status status = FromJson(content, next);
        return status.ok() ? status : PartError(part, status.message());
      }
      message = next;
      continue;
    }
    if (!last) return PartError(part, absl::StrCat(step.field->name(), " has no fields"));
    if (!step.index.has_value()) return SetScalar(message, step.field, part, content);
    // Of scalar lists only `ids` is worth a form.
    if (step.field->type() != FieldDescriptor::TYPE_STRING || !IsUtf8(content)) {
      return PartError(part, "only lists of UTF-8 strings take parts");
    }
    if (*step.index == reflection->FieldSize(*message, step.field)) {
      reflection->AddString(message, step.field, content);
    } else {
      reflection->SetRepeatedString(message, step.field, *step.index, content);
    }
    return absl::OkStatus();
  }
  return absl::OkStatus();
}

// "LIST[n]." for the first entry whose oneof is not given yet, or for a new one.
std::string OpenEntry(const Message& message, const char* list) {
  const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(list);
  const Reflection* reflection = message.GetReflection();
  const int size = reflection->FieldSize(message, field);
  int open = 0;
  for (; open < size; ++open) {
    const Message& entry = reflection->GetRepeatedMessage(message, field, open);
    if (!entry.GetReflection()->HasOneof(entry, entry.GetDescriptor()->oneof_decl(0))) break;
  }
  return absl::StrCat(list, "[", open, "].");
}

// `image` and `text` by the kind of request; empty when it takes none.
std::string LongName(const Message& request, absl::string_view part) {
  const std::string& type = request.GetDescriptor()->name();
  if (type == "SearchRequest") {
    const FieldDescriptor* query = request.GetDescriptor()->FindFieldByName("query");
    return absl::StrCat(
        "query.", OpenEntry(request.GetReflection()->GetMessage(request, query), "terms"), part);
  }
  if (type == "EncodeRequest") return absl::StrCat(OpenEntry(request, "inputs"), part);
  if (type == "UpsertRequest" && part == "image") {
    return absl::StrCat(OpenEntry(request, "images"), "content");
  }
  return "";
}

}  // namespace

absl::Status FromForm(absl::Span<const FormPart> parts, Message* request) {
  for (const FormPart& part : parts) {
    if (part.name != "request") continue;
    if (absl::Status status = FromJson(part.content, request); !status.ok()) return status;
  }
  for (const FormPart& part : parts) {
    if (part.name == "request") continue;
    std::string name = part.name;
    const bool is_short = (name == "image" || name == "text") &&
                          request->GetDescriptor()->FindFieldByName(name) == nullptr;
    if (is_short) {
      name = LongName(*request, part.name);
      if (name.empty()) return PartError(part.name, "this request takes none");
    }
    if (absl::Status status = SetField(request, name, part.content); !status.ok()) return status;
  }
  return absl::OkStatus();
}

}  // namespace imagesearch::server
