// A search result as one HTML file: each query beside its hits, pictures inline, nothing loaded
// from elsewhere.
#ifndef IMAGESEARCH_CLIENT_COMMAND_CONTACT_SHEET_H_
#define IMAGESEARCH_CLIENT_COMMAND_CONTACT_SHEET_H_

#include <string>
#include <vector>

#include "absl/status/status.h"

namespace imagesearch::client {

struct SheetHit {
  std::string id;
  std::string path;  // shown below the picture
  double score = 0;
  std::string thumbnail;  // encoded JPEG; empty: a box with the name instead
};

struct SheetQuery {
  std::string title;
  std::vector<std::string> pictures;  // encoded JPEGs of the query's own images
  std::vector<SheetHit> hits;
  double milliseconds = 0;
  std::string footnote;  // for example the filter
};

// The whole page with this query on it.
std::string RenderContactSheet(const SheetQuery& query);

// Writes `path` anew, or with `append` puts the query below those that the file holds already.
// An existing file that is not a contact sheet is never changed: FAILED_PRECONDITION.
absl::Status WriteContactSheet(const std::string& path, const SheetQuery& query, bool append);

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_COMMAND_CONTACT_SHEET_H_
