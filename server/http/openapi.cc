// Descriptors -> JSON schemas and paths.
#include "server/http/openapi.h"

#include <set>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/descriptor.pb.h"
#include "nlohmann/json.hpp"
#include "server/methods.h"

namespace imagesearch::server {
namespace {

using Json = nlohmann::ordered_json;
using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;

template <typename D>
std::string Comment(const D& descriptor) {
  google::protobuf::SourceLocation location;
  if (!descriptor.GetSourceLocation(&location)) return "";
  std::string text = absl::StrReplaceAll(location.leading_comments, {{"\n ", " "}, {"\n", " "}});
  return std::string(absl::StripAsciiWhitespace(text));
}

class Schemas {
 public:
  // A reference to the schema of `type`, which is added when it is new.
  Json Reference(const Descriptor* type) {
    if (type->full_name() == "google.protobuf.Struct") {
      return {{"type", "object"}, {"additionalProperties", true}};
    }
    if (type->full_name() == "google.protobuf.Timestamp") {
      return {{"type", "string"}, {"format", "date-time"}};
    }
    if (seen_.insert(type->full_name()).second) pending_.push_back(type);
    return {{"$ref", "#/components/schemas/" + type->name()}};
  }

  Json TakeAll() {
    Json all = Json::object();
    while (!pending_.empty()) {
      const Descriptor* type = pending_.back();
      pending_.pop_back();
      all[type->name()] = Message(type);
    }
    return all;
  }

 private:
  Json Message(const Descriptor* type) {
    Json schema = {{"type", "object"}};
    if (std::string comment = Comment(*type); !comment.empty()) schema["description"] = comment;
    Json properties = Json::object();
    for (int i = 0; i < type->field_count(); ++i) {
      const FieldDescriptor* field = type->field(i);
      Json value = Value(field);
      if (field->is_repeated()) value = {{"type", "array"}, {"items", std::move(value)}};
      std::string comment = Comment(*field);
      if (const auto* oneof = field->real_containing_oneof()) {
        absl::StrAppend(&comment, comment.empty() ? "" : " ", "(at most one of ", oneof->name(),
                        ")");
      }
      if (!comment.empty()) {
        // Beside $ref nothing else counts in OpenAPI 3.0.
        if (value.contains("$ref")) value = {{"allOf", Json::array({value})}};
        value["description"] = comment;
      }
      properties[field->json_name()] = std::move(value);
    }
    schema["properties"] = std::move(properties);
    return schema;
  }

  Json Value(const FieldDescriptor* field) {
    switch (field->type()) {
      case FieldDescriptor::TYPE_MESSAGE:
        return Reference(field->message_type());
      case FieldDescriptor::TYPE_ENUM: {
        Json names = Json::array();
        for (int i = 0; i < field->enum_type()->value_count(); ++i) {
          names.push_back(field->enum_type()->value(i)->name());
        }
        return {{"type", "string"}, {"enum", std::move(names)}};
      }
      case FieldDescriptor::TYPE_BYTES:
        return {{"type", "string"}, {"format", "byte"}};
      case FieldDescriptor::TYPE_BOOL:
        return {{"type", "boolean"}};
      case FieldDescriptor::TYPE_FLOAT:
        return {{"type", "number"}, {"format", "float"}};
      case FieldDescriptor::TYPE_DOUBLE:
        return {{"type", "number"}, {"format", "double"}};
      case FieldDescriptor::TYPE_INT32:
        return {{"type", "integer"}, {"format", "int32"}};
      case FieldDescriptor::TYPE_UINT32:
        return {{"type", "integer"}, {"format", "int64"}};
      case FieldDescriptor::TYPE_UINT64:
      case FieldDescriptor::TYPE_INT64:
        return {{"type", "string"}, {"pattern", "^-?[0-9]+$"}};
      default:
        return {{"type", "string"}};
    }
  }

  std::set<std::string> seen_;
  std::vector<const Descriptor*> pending_;
};

Json ErrorSchema() {
  return {
      {"type", "object"},
      {"description", "google.rpc.Status. The ErrorInfo among the details has a stable reason."},
      {"properties",
       {{"code", {{"type", "integer"}, {"description", "A google.rpc.Code number."}}},
        {"message", {{"type", "string"}}},
        {"details", {{"type", "array"}, {"items", {{"type", "object"}}}}}}}};
}

Json Content(const char* type, Json schema) { return {{type, {{"schema", std::move(schema)}}}}; }

Json Operation(const google::protobuf::MethodDescriptor& method, Schemas& schemas) {
  const Json request = schemas.Reference(method.input_type());
  Json content = Content("application/json", request);
  // A stream is answered a message a line.
  const char* reply_type = method.server_streaming() ? "application/x-ndjson" : "application/json";
  if (!method.server_streaming())
    content["multipart/form-data"] = {
        {"schema",
         {{"type", "object"},
          {"description",
           "Parts named after the fields they fill (limit, query.terms[0].image, ...); `request` "
           "holds the request as JSON, `image` and `text` are short for the first term, image or "
           "input still without one."},
          {"properties", {{"request", request}}},
          {"additionalProperties", {{"type", "string"}, {"format", "binary"}}}}}};
  Json operation = {{"operationId", method.name()},
                    {"tags", Json::array({method.service()->name()})}};
  if (std::string comment = Comment(method); !comment.empty()) operation["description"] = comment;
  operation["requestBody"] = {{"required", true}, {"content", std::move(content)}};
  operation["responses"] = {
      {"200",
       {{"description", "OK"},
        {"content", Content(reply_type, schemas.Reference(method.output_type()))}}},
      {"default",
       {{"description", "Error"},
        {"content", Content("application/json", {{"$ref", "#/components/schemas/Error"}})}}}};
  return operation;
}

}  // namespace

std::string HttpPath(absl::string_view method) {
  std::string path = "/v1/";
  for (char c : method) {
    if (absl::ascii_isupper(c) && path.back() != '/') path += '-';
    path += absl::ascii_tolower(c);
  }
  return path;
}

absl::StatusOr<std::string> OpenApi(absl::string_view descriptors, absl::string_view version) {
  google::protobuf::FileDescriptorSet files;
  if (!files.ParseFromArray(descriptors.data(), static_cast<int>(descriptors.size()))) {
    return absl::InternalError("the contract's descriptors can't be read");
  }
  google::protobuf::DescriptorPool pool;
  for (const auto& file : files.file()) {
    if (pool.BuildFile(file) == nullptr) {
      return absl::InternalError(absl::StrCat("can't build the descriptors of ", file.name()));
    }
  }
  Schemas schemas;
  Json paths = Json::object();
  std::vector<const Method*> methods;
  for (const Method& method : Methods()) methods.push_back(&method);
  methods.push_back(&FindDuplicatesMethod());
  for (const Method* method : methods) {
    const auto* descriptor =
        pool.FindMethodByName(absl::StrCat(method->service, ".", method->name));
    if (descriptor == nullptr) {
      return absl::InternalError(absl::StrCat("no descriptor of ", method->name));
    }
    paths[HttpPath(method->name)] = {{"post", Operation(*descriptor, schemas)}};
  }
  Json components = schemas.TakeAll();
  components["Error"] = ErrorSchema();
  const Json document = {
      {"openapi", "3.0.3"},
      {"info",
       {{"title", "imagesearchd"},
        {"version", std::string(version)},
        {"description",
         "Finds pictures by text, image, stored id or vector. The same methods as over gRPC, in "
         "the proto3 JSON mapping: bytes are base64, 64-bit integers are strings. Headers: "
         "imagesearch-priority (interactive | bulk), x-request-id, traceparent, "
         "imagesearch-timeout-ms."}}},
      {"paths", std::move(paths)},
      {"components", {{"schemas", std::move(components)}}}};
  return document.dump();
}

}  // namespace imagesearch::server
