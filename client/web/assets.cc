// Names and types of the embedded files.
#include "client/web/assets.h"

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/embedded_file.h"

namespace imagesearch::client {

namespace web_files {
extern const EmbeddedFile kFiles[];
extern const int kFileCount;
}  // namespace web_files

namespace {

absl::string_view TypeOf(absl::string_view name) {
  if (absl::EndsWith(name, ".html")) return "text/html; charset=utf-8";
  if (absl::EndsWith(name, ".css")) return "text/css; charset=utf-8";
  if (absl::EndsWith(name, ".js")) return "text/javascript; charset=utf-8";
  return "image/svg+xml";
}

}  // namespace

absl::Span<const WebAsset> WebAssets() {
  static const auto* assets = [] {
    auto* all = new std::vector<WebAsset>;
    for (int i = 0; i < web_files::kFileCount; ++i) {
      const EmbeddedFile& file = web_files::kFiles[i];
      const absl::string_view name = file.name;
      all->push_back({name == "index.html" ? "/" : absl::StrCat("/web/", name),
                      TypeOf(name),
                      {reinterpret_cast<const char*>(file.bytes), file.size},
                      absl::StrCat("\"", file.sha256, "\"")});
    }
    return all;
  }();
  return *assets;
}

}  // namespace imagesearch::client
