// See output.h.
#include "client/command/output.h"

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/time.h"

namespace imagesearch::client {
namespace {

bool ContinuesCharacter(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

// Characters, near enough to columns for names and paths.
size_t Width(absl::string_view text) {
  return text.size() - std::count_if(text.begin(), text.end(), ContinuesCharacter);
}

}  // namespace

std::string ShownText(std::string text) {
  std::replace_if(text.begin(), text.end(), absl::ascii_iscntrl, '?');
  return text;
}

void Table::AddRow(std::vector<std::string> cells) {
  for (std::string& cell : cells) cell = ShownText(std::move(cell));
  rows_.push_back(std::move(cells));
}

void Table::Print(std::ostream& out) const {
  std::vector<size_t> widths;
  for (size_t c = 0; c < columns_.size(); ++c) {
    size_t width = Width(columns_[c].title);
    for (const auto& row : rows_) width = std::max(width, Width(row[c]));
    widths.push_back(width);
  }
  const auto print_row = [&](auto&& cell) {
    std::string line;
    for (size_t c = 0; c < columns_.size(); ++c) {
      const std::string& text = cell(c);
      const std::string padding(widths[c] - Width(text), ' ');
      if (c > 0) line += "  ";
      const bool right = columns_[c].align == Align::kRight;
      absl::StrAppend(&line, right ? padding : "", text,
                      right || c + 1 == columns_.size() ? "" : padding);
    }
    out << line << "\n";
  };
  print_row([&](size_t c) -> const std::string& { return columns_[c].title; });
  for (const auto& row : rows_) print_row([&](size_t c) -> const std::string& { return row[c]; });
}

std::string Dump(const Json& json, int indent) {
  return json.dump(indent, ' ', false, Json::error_handler_t::replace);
}

void PrintJson(const Json& json) { std::cout << Dump(json, 2) << "\n"; }

Json ToJson(const v1::Vector& vector) {
  Json list = Json::array();
  for (float value : vector.values()) list.push_back(value);
  return list;
}

Json ToJson(const v1::StoredImage& image) {
  Json object = {{"id", image.id()}, {"metadata", ToJson(image.metadata())}};
  if (!image.content_hash().empty()) object["content_hash"] = image.content_hash();
  if (!image.source_uri().empty()) object["source_uri"] = image.source_uri();
  object["version"] = image.version();
  if (image.has_expire_time()) {
    object["expire_time"] =
        absl::FormatTime(absl::RFC3339_sec, absl::FromUnixSeconds(image.expire_time().seconds()),
                         absl::UTCTimeZone());
  }
  if (image.has_vector()) object["vector"] = ToJson(image.vector());
  return object;
}

Json ToJson(const v1::Collection& collection) {
  const v1::Quota& quota = collection.quota();
  return {
      {"name", collection.name()},
      {"index", v1::Index::Kind_Name(collection.index().kind())},
      {"serving", v1::Index::Kind_Name(collection.serving_kind())},
      {"serving_pq_bytes", collection.serving_pq_bytes()},
      {"model_id", collection.model_id()},
      {"dimension", collection.dimension()},
      {"image_count", collection.image_count()},
      {"disk_bytes", collection.disk_bytes()},
      {"keep_originals", collection.keep_originals()},
      {"original_bytes", collection.original_bytes()},
      {"memory_bytes", collection.memory_bytes()},
      {"index_bytes", collection.index_bytes()},
      {"index_memory", collection.index().memory_bytes()},
      {"recall_text", collection.has_recall_text() ? Json(collection.recall_text()) : Json()},
      {"recall_image", collection.has_recall_image() ? Json(collection.recall_image()) : Json()},
      {"aliases",
       std::vector<std::string>(collection.aliases().begin(), collection.aliases().end())},
      {"quota",
       {{"max_images", quota.max_images()},
        {"max_bytes", quota.max_bytes()},
        {"used_bytes", quota.used_bytes()}}},
      {"version", collection.version()}};
}

std::string MetadataText(const google::protobuf::Struct& metadata, const std::string& key) {
  const auto it = metadata.fields().find(key);
  return it == metadata.fields().end() ? "" : it->second.string_value();
}

std::string PathOf(const google::protobuf::Struct& metadata) {
  for (const char* key : {"path", "url", "name", "title"}) {
    if (std::string text = MetadataText(metadata, key); !text.empty()) return text;
  }
  return "";
}

std::string ShownPath(const std::string& path) {
  std::error_code error;
  const std::string here = std::filesystem::current_path(error).string() + "/";
  return !error && absl::StartsWith(path, here) ? path.substr(here.size()) : path;
}

std::string HumanBytes(uint64_t bytes) {
  const char* units[] = {"B", "kB", "MB", "GB", "TB"};
  double value = static_cast<double>(bytes);
  int unit = 0;
  while (value >= 1000 && unit < 4) {
    value /= 1000;
    ++unit;
  }
  return absl::StrFormat(unit == 0 ? "%.0f %s" : "%.1f %s", value, units[unit]);
}

std::string HumanCount(uint64_t count) {
  std::string text = absl::StrCat(count);
  for (int at = static_cast<int>(text.size()) - 3; at > 0; at -= 3) text.insert(at, ",");
  return text;
}

std::string Shorten(absl::string_view text, size_t width) {
  if (text.size() <= width) return std::string(text);
  size_t head = (width - 3) / 2;
  size_t tail = text.size() - (width - 3 - head);
  while (head > 0 && ContinuesCharacter(text[head])) --head;
  while (tail < text.size() && ContinuesCharacter(text[tail])) ++tail;
  return absl::StrCat(text.substr(0, head), "...", text.substr(tail));
}

}  // namespace imagesearch::client
