// See dataset.h.
#include "client/evaluate/dataset.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <unordered_map>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/error.h"
#include "client/bulk/source.h"
#include "client/bulk/table_file.h"
#include "nlohmann/json.hpp"

namespace imagesearch::client {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

absl::Status BadSet(const std::string& path, absl::string_view what) {
  return InvalidArgument("BAD_EVALUATION_SET", absl::StrCat(path, ": ", what));
}

std::string Below(const std::string& folder, const std::string& set, const std::string& name) {
  const fs::path root = folder.empty() ? fs::path(set).parent_path() : fs::path(folder);
  return (root / name).string();
}

std::string Text(const Json& json, const char* key) {
  const auto it = json.find(key);
  return it != json.end() && it->is_string() ? it->get<std::string>() : "";
}

bool Texts(const Json& json, const char* key, std::vector<std::string>* texts) {
  const auto it = json.find(key);
  if (it == json.end()) return true;
  if (!it->is_array()) return false;
  for (const Json& text : *it) {
    if (!text.is_string()) return false;
    texts->push_back(text.get<std::string>());
  }
  return true;
}

absl::StatusOr<std::vector<EvalImage>> FromKarpathy(const Json& root, const std::string& path,
                                                    const std::string& image_folder,
                                                    const std::string& split) {
  std::vector<EvalImage> images;
  for (const Json& entry : root["images"]) {
    const std::string own = Text(entry, "split");
    if (own != split && !(own == "restval" && split == "train")) continue;
    EvalImage image;
    image.name = (fs::path(Text(entry, "filepath")) / Text(entry, "filename")).string();
    image.file = Below(image_folder, path, image.name);
    for (const Json& sentence : entry.value("sentences", Json::array())) {
      image.captions.push_back(Text(sentence, "raw"));
    }
    images.push_back(std::move(image));
  }
  if (images.empty()) return BadSet(path, absl::StrCat("has no picture of the split ", split));
  return images;
}

absl::StatusOr<std::vector<EvalImage>> FromCoco(const Json& root, const std::string& path,
                                                const std::string& image_folder) {
  std::vector<EvalImage> images;
  std::unordered_map<int64_t, size_t> index_of;
  for (const Json& entry : root["images"]) {
    if (!entry.contains("id") || !entry["id"].is_number_integer()) {
      return BadSet(path, "a picture has no id");
    }
    index_of[entry["id"].get<int64_t>()] = images.size();
    EvalImage image;
    image.name = Text(entry, "file_name");
    image.file = Below(image_folder, path, image.name);
    images.push_back(std::move(image));
  }
  for (const Json& entry : root["annotations"]) {
    const auto id = entry.find("image_id");
    const auto it = id != entry.end() && id->is_number_integer() ? index_of.find(id->get<int64_t>())
                                                                 : index_of.end();
    if (it == index_of.end()) return BadSet(path, "a caption belongs to no picture");
    images[it->second].captions.push_back(Text(entry, "caption"));
  }
  return images;
}

absl::StatusOr<std::unordered_map<std::string, std::string>> ReadLabels(const std::string& path) {
  std::unordered_map<std::string, std::string> labels;
  std::ifstream in(path);
  if (!in) return BadSet(path, "can't be opened");
  std::string line;
  while (std::getline(in, line)) {
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    if (line[0] == '{') {
      const Json json = Json::parse(line, nullptr, false);
      if (!json.is_object()) return BadSet(path, "a line is not a JSON object");
      labels[Text(json, "folder")] = Text(json, "name");
      continue;
    }
    const size_t space = line.find_first_of(" \t");
    if (space == std::string::npos) return BadSet(path, absl::StrCat("no name in: ", line));
    labels[line.substr(0, space)] = std::string(absl::StripAsciiWhitespace(line.substr(space)));
  }
  return labels;
}

}  // namespace

absl::StatusOr<std::vector<EvalImage>> ReadLinesSet(const std::string& path,
                                                    const std::string& image_folder) {
  std::vector<EvalImage> images;
  absl::Status bad;
  const absl::Status read = ReadTable(path, [&](TableRow row) {
    EvalImage image;
    bad = row.error;
    if (bad.ok()) {
      image.name = Text(row.object, "image");
      image.group = Text(row.object, "group");
      if (image.name.empty() || !Texts(row.object, "captions", &image.captions)) {
        bad = BadSet(path, absl::StrCat("line ", row.line,
                                        " needs an \"image\" and a list of \"captions\""));
      }
    }
    image.file = Below(image_folder, path, image.name);
    images.push_back(std::move(image));
    return bad.ok();
  });
  if (!read.ok()) return read;
  if (!bad.ok()) return bad;
  if (images.empty()) return BadSet(path, "holds no picture");
  return images;
}

absl::StatusOr<std::vector<EvalImage>> ReadCocoSet(const std::string& path,
                                                   const std::string& image_folder,
                                                   const std::string& split) {
  std::ifstream in(path, std::ios::binary);
  if (!in) return BadSet(path, "can't be opened");
  const Json root = Json::parse(in, nullptr, false);
  if (!root.is_object() || !root.contains("images") || !root["images"].is_array()) {
    return BadSet(path, "is neither a Karpathy split nor a COCO captions file");
  }
  if (root.contains("annotations") && root["annotations"].is_array()) {
    return FromCoco(root, path, image_folder);
  }
  return FromKarpathy(root, path, image_folder, split);
}

absl::StatusOr<std::vector<EvalQuery>> ReadQueries(const std::string& path) {
  std::vector<EvalQuery> queries;
  absl::Status bad;
  const absl::Status read = ReadTable(path, [&](TableRow row) {
    EvalQuery query;
    bad = row.error;
    if (bad.ok()) {
      query.text = Text(row.object, "query");
      if (query.text.empty() || !Texts(row.object, "relevant", &query.relevant) ||
          query.relevant.empty()) {
        bad = BadSet(path, absl::StrCat("line ", row.line,
                                        " needs a \"query\" and a list of \"relevant\" pictures"));
      }
    }
    queries.push_back(std::move(query));
    return bad.ok();
  });
  if (!read.ok()) return read;
  if (!bad.ok()) return bad;
  if (queries.empty()) return BadSet(path, "holds no query");
  return queries;
}

absl::StatusOr<LabelledFolders> ReadFolders(const std::string& folder,
                                            const std::string& label_file) {
  std::unordered_map<std::string, std::string> labels;
  if (!label_file.empty()) {
    auto read = ReadLabels(label_file);
    if (!read.ok()) return read.status();
    labels = *std::move(read);
  }
  LabelledFolders result;
  std::error_code error;
  std::vector<fs::path> folders;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    if (it->is_directory()) folders.push_back(it->path());
  }
  if (error) return BadSet(folder, error.message());
  std::sort(folders.begin(), folders.end());
  for (const fs::path& path : folders) {
    const std::string name = path.filename().string();
    std::string label = absl::StrReplaceAll(name, {{"_", " "}});
    if (!label_file.empty()) {
      const auto it = labels.find(name);
      if (it == labels.end()) return BadSet(label_file, absl::StrCat("does not name ", name));
      label = it->second;
    }
    const WalkReport report = MakeFolderSource(path.string(), {})->Walk([&](SourceItem item) {
      result.images.push_back(
          {.name = item.path, .file = item.file, .captions = {}, .group = label});
      return true;
    });
    if (!report.unreadable.empty()) return report.unreadable.front();
    result.classes.push_back(std::move(label));
  }
  if (result.images.empty()) return BadSet(folder, "holds no folders with pictures");
  return result;
}

absl::StatusOr<std::vector<std::string>> ReadTemplates(const std::string& path) {
  std::ifstream in(path);
  if (!in) return BadSet(path, "can't be opened");
  std::vector<std::string> templates;
  std::string line;
  while (std::getline(in, line)) {
    if (absl::StripAsciiWhitespace(line).empty()) continue;
    if (!absl::StrContains(line, "{}")) {
      return BadSet(path, absl::StrCat("a template without {}: ", line));
    }
    templates.push_back(std::string(absl::StripAsciiWhitespace(line)));
  }
  if (templates.empty()) return BadSet(path, "holds no template");
  return templates;
}

}  // namespace imagesearch::client
