// How answers are printed: tables for people, JSON for programs.
#ifndef IMAGESEARCH_CLIENT_COMMAND_OUTPUT_H_
#define IMAGESEARCH_CLIENT_COMMAND_OUTPUT_H_

#include <cstdint>
#include <ostream>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "client/bulk/struct_json.h"
#include "google/protobuf/struct.pb.h"
#include "imagesearch/v1/types.pb.h"
#include "nlohmann/json.hpp"

namespace imagesearch::client {

using Json = nlohmann::ordered_json;

// Columns as wide as their widest cell; numbers to the right. Control characters in cells (names
// come from anywhere) are shown as "?".
class Table {
 public:
  enum class Align { kLeft, kRight };
  struct Column {
    std::string title;
    Align align = Align::kLeft;
  };

  explicit Table(std::vector<Column> columns) : columns_(std::move(columns)) {}
  // As many cells as columns.
  void AddRow(std::vector<std::string> cells);
  void Print(std::ostream& out) const;

 private:
  std::vector<Column> columns_;
  std::vector<std::vector<std::string>> rows_;
};

// For the terminal: control characters as "?".
std::string ShownText(std::string text);

// One line of JSON text; bytes that are not UTF-8 are replaced.
std::string Dump(const Json& json, int indent = -1);
void PrintJson(const Json& json);

Json ToJson(const v1::Vector& vector);
Json ToJson(const v1::StoredImage& image);
Json ToJson(const v1::Collection& collection);

// The text at `key`; empty when there is none.
std::string MetadataText(const google::protobuf::Struct& metadata, const std::string& key);

// Where the picture came from, as far as its metadata tells: the file's path, or else its URL or
// name.
std::string PathOf(const google::protobuf::Struct& metadata);

// For tables: relative where it lies below the current folder.
std::string ShownPath(const std::string& path);

// "12.3 MB".
std::string HumanBytes(uint64_t bytes);
// 1234567 -> "1,234,567".
std::string HumanCount(uint64_t count);
// Cut in the middle to at most `width` bytes, "..." included; UTF-8 stays whole.
std::string Shorten(absl::string_view text, size_t width);

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_COMMAND_OUTPUT_H_
