// See table_file.h.
#include "client/bulk/table_file.h"

#include <filesystem>
#include <fstream>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "client/bulk/struct_json.h"

namespace imagesearch::client {
namespace {

using Json = nlohmann::ordered_json;

absl::Status BadRow(const std::string& path, uint64_t line, absl::string_view what) {
  return InvalidArgument("BAD_TABLE_ROW", absl::StrCat(path, ":", line, ": ", what));
}

// One CSV record, which may span lines. Nothing at the end of the file.
std::optional<std::vector<std::string>> ReadRecord(std::istream& in, uint64_t* lines,
                                                   bool* broken) {
  std::vector<std::string> cells(1);
  bool quoted = false;
  bool any = false;
  *broken = false;
  for (int c = in.get(); c != EOF; c = in.get()) {
    any = true;
    if (c == '\n') ++*lines;
    if (quoted) {
      if (c != '"') {
        cells.back() += static_cast<char>(c);
      } else if (in.peek() == '"') {
        cells.back() += static_cast<char>(in.get());
      } else {
        quoted = false;
      }
    } else if (c == '"' && cells.back().empty()) {
      quoted = true;
    } else if (c == ',') {
      cells.emplace_back();
    } else if (c == '\n') {
      return cells;
    } else if (c != '\r') {
      cells.back() += static_cast<char>(c);
    }
  }
  *broken = quoted;
  return any ? std::optional(cells) : std::nullopt;
}

Json Cell(const std::string& text) {
  double number = 0;
  // "007" and "+1" are names, not numbers.
  const bool plain = !text.empty() && text.find_first_not_of("0123456789.-eE+") == text.npos &&
                     text[0] != '+' && !(text.size() > 1 && text[0] == '0' && text[1] != '.');
  if (plain && absl::SimpleAtod(text, &number)) return number;
  return text;
}

void ReadCsv(const std::string& path, std::istream& in, const std::function<bool(TableRow)>& take) {
  uint64_t lines = 0;
  bool broken = false;
  const auto titles = ReadRecord(in, &lines, &broken);
  if (!titles) return;
  while (true) {
    TableRow row;
    row.line = lines + 1;
    const auto cells = ReadRecord(in, &lines, &broken);
    if (!cells) return;
    if (cells->size() == 1 && cells->front().empty() && !broken) continue;  // a blank line
    row.object = Json::object();
    if (broken) {
      row.error = BadRow(path, row.line, "the quotation is not closed");
    } else if (cells->size() != titles->size()) {
      row.error =
          BadRow(path, row.line,
                 absl::StrCat(cells->size(), " cells where the first row has ", titles->size()));
    } else {
      for (size_t i = 0; i < cells->size(); ++i) {
        if (!(*cells)[i].empty()) row.object[(*titles)[i]] = Cell((*cells)[i]);
      }
    }
    if (!take(std::move(row))) return;
  }
}

void ReadJsonLines(const std::string& path, std::istream& in,
                   const std::function<bool(TableRow)>& take) {
  std::string line;
  for (uint64_t number = 1; std::getline(in, line); ++number) {
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    TableRow row;
    row.line = number;
    row.object = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!row.object.is_object()) row.error = BadRow(path, number, "is not a JSON object");
    if (!take(std::move(row))) return;
  }
}

}  // namespace

absl::Status ReadTable(const std::string& path, const std::function<bool(TableRow)>& take) {
  std::ifstream in(path, std::ios::binary);
  if (!in) {
    return Error(absl::StatusCode::kInvalidArgument, "LOCAL_FILE",
                 absl::StrCat(path, ": can't be opened"));
  }
  if (absl::EndsWith(absl::AsciiStrToLower(path), ".csv")) {
    ReadCsv(path, in, take);
  } else {
    ReadJsonLines(path, in, take);
  }
  return absl::OkStatus();
}

std::string TakePath(const std::string& table, Json* row) {
  for (const char* key : {"path", "file", "file_name", "filename", "filepath", "image"}) {
    const auto it = row->find(key);
    if (it == row->end() || !it->is_string()) continue;
    const std::filesystem::path path(it->get<std::string>());
    row->erase(key);
    std::error_code ignored;
    const auto folder = std::filesystem::absolute(table, ignored).parent_path();
    return (path.is_absolute() ? path : folder / path).lexically_normal().string();
  }
  return "";
}

absl::StatusOr<std::unordered_map<std::string, google::protobuf::Struct>> ReadSideFile(
    const std::string& path) {
  std::unordered_map<std::string, google::protobuf::Struct> by_path;
  absl::Status bad;
  const absl::Status read = ReadTable(path, [&](TableRow row) {
    bad = row.error;
    if (!bad.ok()) return false;
    bool bare = true;
    for (const char* key : {"path", "file", "file_name", "filename", "filepath", "image"}) {
      const auto it = row.object.find(key);
      if (it != row.object.end() && it->is_string()) {
        bare = !absl::StrContains(it->get<std::string>(), '/');
        break;
      }
    }
    const std::string file = TakePath(path, &row.object);
    if (file.empty()) {
      bad = BadRow(path, row.line, "names no file (path)");
      return false;
    }
    google::protobuf::Struct metadata;
    FromJson(row.object, &metadata);
    by_path[bare ? std::filesystem::path(file).filename().string() : file] = std::move(metadata);
    return true;
  });
  if (!read.ok()) return read;
  if (!bad.ok()) return bad;
  return by_path;
}

}  // namespace imagesearch::client
