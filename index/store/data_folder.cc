#include "index/store/data_folder.h"

#include <algorithm>
#include <memory>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/error.h"
#include "index/store/rocks_status.h"

namespace imagesearch::index {
namespace {
constexpr absl::string_view kFormatPrefix = "imagesearchd data folder, format ";
}  // namespace

absl::Status SyncParent(rocksdb::Env* env, const std::string& path) {
  std::unique_ptr<rocksdb::Directory> directory;
  const std::string parent = path.substr(0, path.rfind('/'));
  rocksdb::Status status = env->NewDirectory(parent, &directory);
  if (status.ok()) status = directory->Fsync();
  return FromRocks(status, "syncing " + parent);
}

absl::Status WriteFileAtomically(rocksdb::Env* env, const std::string& path,
                                 absl::string_view content) {
  const std::string temporary = path + ".tmp";
  rocksdb::Status status = rocksdb::WriteStringToFile(
      env, rocksdb::Slice(content.data(), content.size()), temporary, /*should_sync=*/true);
  if (status.ok()) status = env->RenameFile(temporary, path);
  if (!status.ok()) return FromRocks(status, "writing " + path);
  return SyncParent(env, path);
}

absl::Status PrepareDataFolder(rocksdb::Env* env, const std::string& data_dir) {
  const std::string path = data_dir + "/FORMAT";
  const bool is_new_folder = env->FileExists(data_dir).IsNotFound();
  if (!is_new_folder && env->FileExists(path).ok()) {
    std::string text;
    rocksdb::Status read = rocksdb::ReadFileToString(env, path, &text);
    if (!read.ok()) return FromRocks(read, "reading " + path);
    absl::string_view number = absl::StripAsciiWhitespace(text);
    int format = 0;
    if (!absl::ConsumePrefix(&number, kFormatPrefix) || !absl::SimpleAtoi(number, &format) ||
        format < 1) {
      return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                   absl::StrCat(path, " does not say '", kFormatPrefix, "N'"));
    }
    if (format > kDataFormat) {
      return Error(absl::StatusCode::kFailedPrecondition, "NEWER_FORMAT",
                   absl::StrCat(data_dir, " has format ", format, ", written by a newer release; ",
                                "this one reads formats 1 to ", kDataFormat));
    }
    return absl::OkStatus();
  }
  if (!is_new_folder) {
    std::vector<std::string> children;
    rocksdb::Status listed = env->GetChildren(data_dir, &children);
    if (!listed.ok()) return FromRocks(listed, "listing " + data_dir);
    // A first start that was cut off before FORMAT was in place left at most FORMAT.tmp.
    const bool foreign = std::any_of(children.begin(), children.end(), [](const std::string& name) {
      return name == "db" || name == "index";
    });
    if (foreign) {
      return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                   absl::StrCat(data_dir, " holds a database but no FORMAT file"));
    }
  }
  rocksdb::Status made = env->CreateDirIfMissing(data_dir);
  if (!made.ok()) return FromRocks(made, "making the data folder " + data_dir);
  if (is_new_folder && data_dir.find('/') != std::string::npos) {
    if (absl::Status synced = SyncParent(env, data_dir); !synced.ok()) return synced;
  }
  return WriteFileAtomically(env, path, absl::StrCat(kFormatPrefix, kDataFormat, "\n"));
}

}  // namespace imagesearch::index
