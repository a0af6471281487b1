// The format: 8 bytes little-endian header length N, N bytes of JSON {name: {dtype, shape,
// data_offsets: [begin, end)}, "__metadata__": {...}}, then the data that the offsets refer to.
#include "encoder/clip/safetensors.h"

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/error.h"
#include "encoder/clip/json_object.h"

namespace imagesearch::encoder {
namespace {

constexpr uint64_t kMaxHeaderBytes = 100'000'000;
constexpr size_t kMaxRank = 8;
constexpr size_t kMaxShards = 1000;

absl::Status Damaged(absl::string_view path, absl::string_view what) {
  return Error(absl::StatusCode::kDataLoss, "MODEL_DAMAGED", absl::StrCat(path, ": ", what));
}

// Bytes of one element; 0 for a type that this reader doesn't know.
int ElementBytes(absl::string_view dtype) {
  static constexpr struct {
    absl::string_view name;
    int bytes;
  } kTypes[] = {{"F32", 4}, {"F16", 2}, {"BF16", 2}, {"F64", 8},     {"I64", 8},
                {"I32", 4}, {"I16", 2}, {"I8", 1},   {"U64", 8},     {"U32", 4},
                {"U16", 2}, {"U8", 1},  {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};
  for (const auto& type : kTypes) {
    if (type.name == dtype) return type.bytes;
  }
  return 0;
}

std::optional<uint64_t> Unsigned(const nlohmann::json& value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  return value.get<uint64_t>();
}

// Reads one header entry; `data_bytes` is the size of the data part.
absl::StatusOr<TensorView> ParseEntry(const nlohmann::json& entry, const uint8_t* data,
                                      uint64_t data_bytes, uint64_t* begin) {
  const auto bad = [](absl::string_view what) { return absl::DataLossError(what); };
  if (!entry.is_object()) return bad("the header entry is no object");
  const auto dtype = entry.find("dtype"), shape = entry.find("shape"),
             offsets = entry.find("data_offsets");
  if (dtype == entry.end() || !dtype->is_string()) return bad("no dtype");
  if (shape == entry.end() || !shape->is_array() || shape->size() > kMaxRank)
    return bad(absl::StrCat("no shape, or one of more than ", kMaxRank, " dimensions"));
  if (offsets == entry.end() || !offsets->is_array() || offsets->size() != 2)
    return bad("no data_offsets pair");

  TensorView view;
  view.dtype = dtype->get<std::string>();
  const int element = ElementBytes(view.dtype);
  if (element == 0) return bad("unknown dtype");
  uint64_t bytes = element;
  for (const nlohmann::json& dimension : *shape) {
    const auto size = Unsigned(dimension);
    if (!size || *size > uint64_t{std::numeric_limits<int32_t>::max()})
      return bad("a dimension is not a whole number below 2^31");
    if (*size != 0 && bytes > std::numeric_limits<int64_t>::max() / *size)
      return bad("the shape is too large");
    bytes *= *size;
    view.shape.push_back(static_cast<int64_t>(*size));
  }
  const auto first = Unsigned((*offsets)[0]), last = Unsigned((*offsets)[1]);
  if (!first || !last || *first > *last) return bad("data_offsets are not an ascending pair");
  if (*last > data_bytes) {
    return bad(absl::StrCat("its data ends at byte ", *last, " of ", data_bytes,
                            ": the file is cut short"));
  }
  if (*last - *first != bytes) {
    return bad(absl::StrCat("shape ", ShapeText(view.shape), " of ", view.dtype, " needs ", bytes,
                            " bytes, data_offsets give ", *last - *first));
  }
  view.data = data + *first;
  view.bytes = bytes;
  *begin = *first;
  return view;
}

// The shard names of an index file, sorted.
absl::StatusOr<std::set<std::string>> ShardNames(const std::string& index_path) {
  absl::StatusOr<nlohmann::json> index = ReadJsonFile(index_path);
  if (!index.ok()) return index.status();
  const auto map = index->find("weight_map");
  if (map == index->end() || !map->is_object() || map->empty())
    return Damaged(index_path, "no weight_map");
  std::set<std::string> names;
  for (const nlohmann::json& value : *map) {
    if (!value.is_string()) return Damaged(index_path, "weight_map holds something not a name");
    const std::string name = value.get<std::string>();
    if (name.empty() || name[0] == '.' || absl::StrContains(name, '/') ||
        absl::StrContains(name, '\0'))
      return Damaged(index_path, "weight_map names a file outside the folder");
    if (!absl::EndsWith(name, ".safetensors"))
      return Damaged(index_path, "weight_map names a file that is not .safetensors");
    names.insert(name);
    if (names.size() > kMaxShards)
      return Damaged(index_path, absl::StrCat("more than ", kMaxShards, " shards"));
  }
  return names;
}

}  // namespace

std::string ShapeText(const std::vector<int64_t>& shape) {
  return absl::StrCat("(", absl::StrJoin(shape, ", "), ")");
}

absl::StatusOr<std::unique_ptr<Safetensors>> Safetensors::Open(const std::string& dir,
                                                               const std::string& name) {
  const std::string path = dir + "/" + name;
  std::unique_ptr<Safetensors> result(new Safetensors);
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored) ||
      !std::filesystem::exists(path + ".index.json", ignored)) {
    if (absl::Status status = result->AddFile(path); !status.ok()) return status;
    return result;
  }
  absl::StatusOr<std::set<std::string>> shards = ShardNames(path + ".index.json");
  if (!shards.ok()) return shards.status();
  for (const std::string& shard : *shards) {
    if (absl::Status status = result->AddFile(dir + "/" + shard); !status.ok()) return status;
  }
  return result;
}

absl::Status Safetensors::AddFile(const std::string& path) {
  absl::StatusOr<std::unique_ptr<MappedFile>> file = MappedFile::Open(path);
  if (!file.ok()) return file.status();
  const uint8_t* bytes = (*file)->data();
  const uint64_t size = (*file)->size();
  if (size < 8) return Damaged(path, "shorter than a safetensors header");
  uint64_t header_bytes = 0;
  for (int i = 7; i >= 0; --i) header_bytes = header_bytes << 8 | bytes[i];
  if (header_bytes > kMaxHeaderBytes) {
    return Damaged(path, absl::StrCat("claims a header of ", header_bytes, " bytes, over ",
                                      kMaxHeaderBytes, ": not a safetensors file"));
  }
  if (header_bytes > size - 8) {
    return Damaged(path, absl::StrCat("claims a header of ", header_bytes, " bytes but has only ",
                                      size - 8, ": the file is cut short"));
  }
  const char* text = reinterpret_cast<const char*>(bytes) + 8;
  const nlohmann::json header = nlohmann::json::parse(text, text + header_bytes, nullptr, false);
  if (!header.is_object()) return Damaged(path, "the header is not a JSON object");

  const uint8_t* data = bytes + 8 + header_bytes;
  const uint64_t data_bytes = size - 8 - header_bytes;
  struct Range {
    uint64_t begin, bytes;
    std::string name;
  };
  std::vector<Range> ranges;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") continue;
    uint64_t begin = 0;
    absl::StatusOr<TensorView> view = ParseEntry(entry, data, data_bytes, &begin);
    if (!view.ok())
      return Damaged(path, absl::StrCat("tensor ", name, ": ", view.status().message()));
    ranges.push_back({begin, view->bytes, name});
    if (!tensors_.emplace(name, *std::move(view)).second)
      return Damaged(path, absl::StrCat("tensor ", name, " is also in another shard"));
  }
  std::sort(ranges.begin(), ranges.end(), [](const Range& a, const Range& b) {
    return std::make_pair(a.begin, a.bytes) < std::make_pair(b.begin, b.bytes);
  });
  uint64_t expected = 0;
  for (const Range& range : ranges) {
    if (range.begin != expected) {
      return Damaged(
          path, absl::StrCat(
                    "tensor ", range.name, " begins at byte ", range.begin, ", expected ", expected,
                    range.begin < expected ? ": it overlaps another" : ": there is a gap"));
    }
    expected += range.bytes;
  }
  if (expected != data_bytes) {
    return Damaged(path, absl::StrCat("holds ", data_bytes, " bytes of data, its header describes ",
                                      expected));
  }
  files_.push_back(*std::move(file));
  return absl::OkStatus();
}

const TensorView* Safetensors::Find(const std::string& name) const {
  const auto it = tensors_.find(name);
  return it == tensors_.end() ? nullptr : &it->second;
}

}  // namespace imagesearch::encoder
