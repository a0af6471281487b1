// Parses; and for what fails, walks the wire format along the descriptor to find the string at
// fault.
#include "server/grpc/request_parser.h"

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "google/protobuf/descriptor.h"
#include "google/protobuf/io/coded_stream.h"
#include "google/protobuf/wire_format_lite.h"
#include "grpcpp/support/proto_buffer_reader.h"
#include "server/utf8.h"

namespace imagesearch::server {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::internal::WireFormatLite;

constexpr int kMaxDepth = 100;  // protobuf's own

// Whether `bytes` is well-formed as `type`. Sets `bad_string` to the path of the first string that
// is not UTF-8.
bool Walk(absl::string_view bytes, const Descriptor& type, const std::string& path, int depth,
          std::string* bad_string) {
  if (depth > kMaxDepth) return false;
  google::protobuf::io::CodedInputStream input(reinterpret_cast<const uint8_t*>(bytes.data()),
                                               static_cast<int>(bytes.size()));
  while (const uint32_t tag = input.ReadTag()) {
    const FieldDescriptor* field = type.FindFieldByNumber(WireFormatLite::GetTagFieldNumber(tag));
    if (WireFormatLite::GetTagWireType(tag) != WireFormatLite::WIRETYPE_LENGTH_DELIMITED ||
        field == nullptr) {
      if (!WireFormatLite::SkipField(&input, tag)) return false;
      continue;
    }
    uint32_t length = 0;
    if (!input.ReadVarint32(&length)) return false;
    const size_t begin = static_cast<size_t>(input.CurrentPosition());
    if (length > bytes.size() - begin || !input.Skip(static_cast<int>(length))) return false;
    const absl::string_view value = bytes.substr(begin, length);
    const std::string name = path.empty() ? field->name() : absl::StrCat(path, ".", field->name());
    if (field->type() == FieldDescriptor::TYPE_STRING) {
      if (bad_string->empty() && !IsUtf8(value)) *bad_string = name;
    } else if (field->type() == FieldDescriptor::TYPE_MESSAGE) {
      if (!Walk(value, *field->message_type(), name, depth + 1, bad_string)) return false;
    }
  }
  return input.ConsumedEntireMessage();
}

}  // namespace

absl::Status ExplainParseFailure(absl::string_view bytes, const Descriptor& type) {
  std::string bad_string;
  if (Walk(bytes, type, "", 0, &bad_string) && !bad_string.empty()) {
    return InvalidArgument("INVALID_UTF8", absl::StrCat(bad_string, " is not valid UTF-8"));
  }
  return InvalidArgument("BAD_REQUEST", absl::StrCat("the bytes are no ", type.full_name()));
}

absl::Status ParseRequest(const grpc::ByteBuffer& bytes, google::protobuf::Message* request) {
  grpc::ByteBuffer copy(bytes);  // shares the slices
  {
    grpc::ProtoBufferReader reader(&copy);
    if (reader.status().ok() && request->ParseFromZeroCopyStream(&reader)) return absl::OkStatus();
  }
  std::vector<grpc::Slice> slices;
  std::string flat;
  if (bytes.Dump(&slices).ok()) {
    for (const grpc::Slice& slice : slices) {
      flat.append(reinterpret_cast<const char*>(slice.begin()), slice.size());
    }
  }
  return ExplainParseFailure(flat, *request->GetDescriptor());
}

}  // namespace imagesearch::server
