// The page's files, part of the binary.
#ifndef IMAGESEARCH_CLIENT_WEB_ASSETS_H_
#define IMAGESEARCH_CLIENT_WEB_ASSETS_H_

#include <string>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace imagesearch::client {

// Lives as long as the program.
struct WebAsset {
  std::string path;        // "/" for the page itself, "/web/NAME" for the others
  absl::string_view type;  // of the content, for its HTTP header
  absl::string_view content;
  std::string etag;  // quoted
};

absl::Span<const WebAsset> WebAssets();

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_WEB_ASSETS_H_
