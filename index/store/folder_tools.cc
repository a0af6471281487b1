#include "index/store/folder_tools.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "index/store/rocks_status.h"

namespace imagesearch::index {
namespace {

constexpr size_t kPiece = 1 << 20;

// Every folder from `root` down, parents before children, and every file, by path.
struct Tree {
  std::vector<std::string> folders;
  std::vector<std::string> files;
};

absl::StatusOr<Tree> Walk(rocksdb::Env* env, const std::string& root) {
  Tree tree;
  std::vector<std::string> open{root};
  while (!open.empty()) {
    const std::string folder = std::move(open.back());
    open.pop_back();
    auto names = ListFolder(env, folder);
    if (!names.ok()) return names.status();
    tree.folders.push_back(folder);
    for (const std::string& name : *names) {
      const std::string path = folder + "/" + name;
      bool is_folder = false;
      rocksdb::Status status = env->IsDirectory(path, &is_folder);
      if (!status.ok()) return FromRocks(status, "reading " + path);
      (is_folder ? open : tree.files).push_back(path);
    }
  }
  return tree;
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ListFolder(rocksdb::Env* env, const std::string& folder) {
  std::vector<std::string> names;
  rocksdb::Status status = env->GetChildren(folder, &names);
  if (!status.ok()) return FromRocks(status, "listing " + folder);
  names.erase(std::remove_if(names.begin(), names.end(),
                             [](const std::string& name) { return name == "." || name == ".."; }),
              names.end());
  std::sort(names.begin(), names.end());
  return names;
}

absl::StatusOr<std::vector<TreeFile>> ListTree(rocksdb::Env* env, const std::string& root) {
  auto tree = Walk(env, root);
  if (!tree.ok()) return tree.status();
  std::vector<TreeFile> files;
  for (const std::string& path : tree->files) {
    TreeFile file{path.substr(root.size() + 1), 0};
    rocksdb::Status status = env->GetFileSize(path, &file.size);
    if (!status.ok()) return FromRocks(status, "reading " + path);
    files.push_back(std::move(file));
  }
  std::sort(files.begin(), files.end(),
            [](const TreeFile& a, const TreeFile& b) { return a.name < b.name; });
  return files;
}

absl::Status ReadPieces(rocksdb::Env* env, const std::string& path,
                        const std::function<absl::Status(absl::string_view bytes)>& take) {
  std::unique_ptr<rocksdb::SequentialFile> file;
  rocksdb::Status status = env->NewSequentialFile(path, &file, rocksdb::EnvOptions());
  if (!status.ok()) return FromRocks(status, "opening " + path);
  std::string buffer(kPiece, '\0');
  while (true) {
    rocksdb::Slice piece;
    status = file->Read(buffer.size(), &piece, buffer.data());
    if (!status.ok()) return FromRocks(status, "reading " + path);
    if (piece.empty()) return absl::OkStatus();
    absl::Status taken = take({piece.data(), piece.size()});
    if (!taken.ok()) return taken;
  }
}

absl::Status CopyFile(rocksdb::Env* env, const std::string& from, const std::string& to) {
  std::unique_ptr<rocksdb::WritableFile> file;
  rocksdb::Status status = env->NewWritableFile(to, &file, rocksdb::EnvOptions());
  if (!status.ok()) return FromRocks(status, "making " + to);
  absl::Status copied = ReadPieces(env, from, [&](absl::string_view bytes) {
    return FromRocks(file->Append(rocksdb::Slice(bytes.data(), bytes.size())), "writing " + to);
  });
  if (!copied.ok()) return copied;
  status = file->Sync();
  if (status.ok()) status = file->Close();
  return FromRocks(status, "writing " + to);
}

absl::Status SyncTree(rocksdb::Env* env, const std::string& root) {
  auto tree = Walk(env, root);
  if (!tree.ok()) return tree.status();
  for (const std::string& path : tree->folders) {
    std::unique_ptr<rocksdb::Directory> folder;
    rocksdb::Status status = env->NewDirectory(path, &folder);
    if (status.ok()) status = folder->Fsync();
    if (!status.ok()) return FromRocks(status, "syncing " + path);
  }
  return absl::OkStatus();
}

absl::Status RemoveTree(rocksdb::Env* env, const std::string& root) {
  if (env->FileExists(root).IsNotFound()) return absl::OkStatus();
  auto tree = Walk(env, root);
  if (!tree.ok()) return tree.status();
  rocksdb::Status status;
  for (const std::string& path : tree->files) {
    if (status.ok()) status = env->DeleteFile(path);
  }
  for (auto path = tree->folders.rbegin(); path != tree->folders.rend(); ++path) {
    if (status.ok()) status = env->DeleteDir(*path);
  }
  return FromRocks(status, "removing " + root);
}

}  // namespace imagesearch::index
