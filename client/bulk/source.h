// Where the pictures of an index job come from: folders, files, archives, manifests, standard
// input.
#ifndef IMAGESEARCH_CLIENT_BULK_SOURCE_H_
#define IMAGESEARCH_CLIENT_BULK_SOURCE_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/struct.pb.h"

namespace imagesearch::client {

// One picture as a source finds it.
struct SourceItem {
  // What reports and the metadata field `path` say: the file's absolute path, or
  // ARCHIVE/MEMBER.
  std::string path;
  // The file to read; empty when `bytes` hold the content.
  std::string file;
  std::string bytes;
  // Of `file`; they tell an unchanged file from a changed one.
  uint64_t size = 0;
  int64_t modified_ns = 0;
  // Given by a manifest or a side file; empty: derived from the content or the path.
  std::string id;
  google::protobuf::Struct metadata;
  // Why the source could not produce it: it counts as seen and failed.
  absl::Status error;
};

struct SourceOptions {
  // Globs over the path relative to the source and over the bare file name (* ? [..]); a file must
  // match one of `include` (all match when empty) and none of `exclude`.
  std::vector<std::string> include;
  std::vector<std::string> exclude;
  bool follow_links = false;
};

// What a walk met beside pictures.
struct WalkReport {
  // Files that are no pictures by name and first bytes, or that the globs leave out.
  uint64_t other_files = 0;
  // Folders and archives that could not be read to their end. Not empty: the walk is not complete.
  std::vector<absl::Status> unreadable;
};

class Source {
 public:
  // Takes one item; false stops the walk.
  using Emit = std::function<bool(SourceItem)>;

  virtual ~Source() = default;
  // Calls `emit` for each picture, on the caller's thread, in a stable order.
  virtual WalkReport Walk(const Emit& emit) = 0;
  // Paths of its items start with one of these (for --sync).
  virtual std::vector<std::string> roots() const = 0;
};

// Chooses by what `name` is: a folder, a tar or zip archive, a .jsonl, .ndjson or .csv manifest,
// "-" (a list of paths on standard input, one a line), or a single picture. INVALID_ARGUMENT
// LOCAL_FILE when there is nothing of that name.
absl::StatusOr<std::unique_ptr<Source>> OpenSource(const std::string& name,
                                                   const SourceOptions& options);

// True when the options let this path in. `relative` is the path below the source's root.
bool Included(const SourceOptions& options, const std::string& relative);

// By extension, or for names without a known extension by the first bytes of the file.
bool IsPictureFile(const std::string& path);
// The same for content that is in memory.
bool IsPicture(const std::string& name, absl::string_view bytes);

// One item for a file of this machine, with size and time; `error` is set when it can't be read.
SourceItem FileItem(const std::string& path);

// The kinds of source, each in its own file.
std::unique_ptr<Source> MakeFolderSource(const std::string& folder, const SourceOptions& options);
std::unique_ptr<Source> MakeFileSource(const std::string& file);
std::unique_ptr<Source> MakeListSource();
std::unique_ptr<Source> MakeArchiveSource(const std::string& archive, const SourceOptions& options);
std::unique_ptr<Source> MakeManifestSource(const std::string& manifest);

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_BULK_SOURCE_H_
