// Manifests: JSON Lines or CSV with a path and metadata in each row.
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "client/bulk/source.h"
#include "client/bulk/struct_json.h"
#include "client/bulk/table_file.h"

namespace imagesearch::client {
namespace {

class ManifestSource final : public Source {
 public:
  explicit ManifestSource(const std::string& manifest) : manifest_(manifest) {}

  WalkReport Walk(const Emit& emit) override {
    WalkReport report;
    const absl::Status status = ReadTable(manifest_, [&](TableRow row) {
      const std::string path = row.error.ok() ? TakePath(manifest_, &row.object) : "";
      if (row.error.ok() && path.empty()) {
        row.error = InvalidArgument(
            "BAD_TABLE_ROW", absl::StrCat(manifest_, ":", row.line, ": names no file (path)"));
      }
      if (!row.error.ok()) {
        SourceItem item;
        item.path = absl::StrCat(manifest_, ":", row.line);
        item.error = row.error;
        return emit(std::move(item));
      }
      SourceItem item = FileItem(path);
      if (const auto id = row.object.find("id"); id != row.object.end() && id->is_string()) {
        item.id = id->get<std::string>();
        row.object.erase("id");
      }
      FromJson(row.object, &item.metadata);
      return emit(std::move(item));
    });
    if (!status.ok()) report.unreadable.push_back(status);
    return report;
  }

  // Its files may lie anywhere, so that --sync deletes nothing on its account.
  std::vector<std::string> roots() const override { return {}; }

 private:
  const std::string manifest_;
};

}  // namespace

std::unique_ptr<Source> MakeManifestSource(const std::string& manifest) {
  return std::make_unique<ManifestSource>(manifest);
}

}  // namespace imagesearch::client
