// Folders, single files and lists of paths; and the choice among all kinds of source.
#include "client/bulk/source.h"

#include <fnmatch.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace imagesearch::client {
namespace {

namespace fs = std::filesystem;

absl::Status FileError(const std::string& path, const std::string& what) {
  return Error(absl::StatusCode::kInvalidArgument, "LOCAL_FILE", absl::StrCat(path, ": ", what));
}

std::string Absolute(const std::string& path) {
  std::error_code error;
  const fs::path absolute = fs::absolute(path, error).lexically_normal();
  std::string text = error ? path : absolute.string();
  // "folder/" names the same folder as "folder".
  while (text.size() > 1 && text.back() == '/') text.pop_back();
  return text;
}

// Names that say "picture", also those of formats that the server will refuse: a TIFF is reported
// as failed, not passed over in silence.
bool HasPictureExtension(const std::string& path) {
  static const std::set<std::string> extensions = {".jpg",  ".jpeg", ".jpe",  ".jfif", ".png",
                                                   ".webp", ".gif",  ".bmp",  ".heic", ".heif",
                                                   ".avif", ".tif",  ".tiff", ".svg"};
  return extensions.count(absl::AsciiStrToLower(fs::path(path).extension().string())) > 0;
}

bool HasPictureMagic(absl::string_view head) {
  return absl::StartsWith(head, "\xFF\xD8\xFF") || absl::StartsWith(head, "\x89PNG\r\n") ||
         absl::StartsWith(head, "GIF8") ||
         (absl::StartsWith(head, "RIFF") && head.size() >= 12 && head.substr(8, 4) == "WEBP");
}

// Folders in depth-first order, entries by name.
class FolderSource final : public Source {
 public:
  FolderSource(const std::string& folder, const SourceOptions& options)
      : root_(Absolute(folder)), options_(options) {}

  WalkReport Walk(const Emit& emit) override {
    WalkReport report;
    std::set<std::pair<dev_t, ino_t>> visited;
    WalkFolder(root_, emit, &visited, &report);
    return report;
  }

  std::vector<std::string> roots() const override { return {root_}; }

 private:
  bool WalkFolder(const fs::path& folder, const Emit& emit,
                  std::set<std::pair<dev_t, ino_t>>* visited, WalkReport* report) {
    struct stat info;
    // A link may lead back up; each folder is walked once.
    if (stat(folder.c_str(), &info) == 0 && !visited->emplace(info.st_dev, info.st_ino).second) {
      return true;
    }
    std::error_code error;
    std::vector<fs::directory_entry> entries;
    for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
      entries.push_back(*it);
    }
    if (error) report->unreadable.push_back(FileError(folder.string(), error.message()));
    std::sort(entries.begin(), entries.end());
    for (const fs::directory_entry& entry : entries) {
      std::error_code ignored;
      if (entry.is_directory(ignored)) {
        if (entry.is_symlink(ignored) && !options_.follow_links) {
          ++report->other_files;
          continue;
        }
        if (!WalkFolder(entry.path(), emit, visited, report)) return false;
        continue;
      }
      const std::string path = entry.path().string();
      const std::string relative = entry.path().lexically_relative(root_).string();
      // A link to nothing is not "regular": it is emitted, and fails by name.
      const bool special = !entry.is_regular_file(ignored) && entry.exists(ignored);
      if (special || !Included(options_, relative) || !IsPictureFile(path)) {
        ++report->other_files;
        continue;
      }
      if (!emit(FileItem(path))) return false;
    }
    return true;
  }

  const std::string root_;
  const SourceOptions options_;
};

class FileSource final : public Source {
 public:
  explicit FileSource(const std::string& file) : file_(Absolute(file)) {}
  WalkReport Walk(const Emit& emit) override {
    emit(FileItem(file_));
    return {};
  }
  std::vector<std::string> roots() const override { return {file_}; }

 private:
  const std::string file_;
};

class ListSource final : public Source {
 public:
  WalkReport Walk(const Emit& emit) override {
    std::string line;
    while (std::getline(std::cin, line)) {
      if (!line.empty() && !emit(FileItem(Absolute(line)))) break;
    }
    return {};
  }
  std::vector<std::string> roots() const override { return {}; }
};

bool IsArchiveName(const std::string& name) {
  const std::string lower = absl::AsciiStrToLower(name);
  for (const char* extension :
       {".tar", ".tar.gz", ".tgz", ".tar.zst", ".tar.xz", ".tar.bz2", ".zip"}) {
    if (absl::EndsWith(lower, extension)) return true;
  }
  return false;
}

bool IsManifestName(const std::string& name) {
  const std::string lower = absl::AsciiStrToLower(name);
  return absl::EndsWith(lower, ".jsonl") || absl::EndsWith(lower, ".ndjson") ||
         absl::EndsWith(lower, ".csv");
}

}  // namespace

bool Included(const SourceOptions& options, const std::string& relative) {
  const std::string name = fs::path(relative).filename().string();
  const auto matches = [&](const std::string& glob) {
    return fnmatch(glob.c_str(), name.c_str(), 0) == 0 ||
           fnmatch(glob.c_str(), relative.c_str(), 0) == 0;
  };
  if (std::any_of(options.exclude.begin(), options.exclude.end(), matches)) return false;
  return options.include.empty() ||
         std::any_of(options.include.begin(), options.include.end(), matches);
}

bool IsPictureFile(const std::string& path) {
  if (HasPictureExtension(path)) return true;
  char head[12] = {};
  std::ifstream in(path, std::ios::binary);
  in.read(head, sizeof head);
  return HasPictureMagic(absl::string_view(head, static_cast<size_t>(in.gcount())));
}

bool IsPicture(const std::string& name, absl::string_view bytes) {
  return HasPictureExtension(name) || HasPictureMagic(bytes.substr(0, 12));
}

SourceItem FileItem(const std::string& path) {
  SourceItem item;
  item.path = path;
  item.file = path;
  struct stat info;
  if (stat(path.c_str(), &info) != 0) {
    item.error = FileError(path, std::strerror(errno));
  } else if (!S_ISREG(info.st_mode)) {
    item.error = FileError(path, "is not a file");
  } else {
    item.size = static_cast<uint64_t>(info.st_size);
    item.modified_ns = int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
  }
  return item;
}

std::unique_ptr<Source> MakeFolderSource(const std::string& folder, const SourceOptions& options) {
  return std::make_unique<FolderSource>(folder, options);
}

std::unique_ptr<Source> MakeFileSource(const std::string& file) {
  return std::make_unique<FileSource>(file);
}

std::unique_ptr<Source> MakeListSource() { return std::make_unique<ListSource>(); }

absl::StatusOr<std::unique_ptr<Source>> OpenSource(const std::string& name,
                                                   const SourceOptions& options) {
  if (name == "-") return MakeListSource();
  std::error_code error;
  if (fs::is_directory(name, error)) return MakeFolderSource(name, options);
  if (!fs::exists(name, error)) return FileError(name, "there is no such file or folder");
  if (IsArchiveName(name)) return MakeArchiveSource(Absolute(name), options);
  if (IsManifestName(name)) return MakeManifestSource(Absolute(name));
  return MakeFileSource(name);
}

}  // namespace imagesearch::client
