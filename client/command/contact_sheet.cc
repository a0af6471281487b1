// See contact_sheet.h.
#include "client/command/contact_sheet.h"

#include <filesystem>

#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "base/error.h"
#include "client/command/context.h"

namespace imagesearch::client {
namespace {

constexpr char kHead[] = R"(<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="imagesearch contact sheet">
<title>imagesearch</title>
<style>
  :root { color-scheme: light dark; --line: #d5d9e0; --soft: #5c6675; --card: #fff; --page: #f4f6f9; --ink: #1a202b; --accent: #2457d6; }
  @media (prefers-color-scheme: dark) {
    :root { --line: #333b48; --soft: #9aa5b5; --card: #1d232d; --page: #12161d; --ink: #e8ecf2; --accent: #8fb0ff; }
  }
  body { margin: 0; padding: 2rem clamp(1rem, 4vw, 3rem); background: var(--page); color: var(--ink);
         font: 15px/1.45 system-ui, sans-serif; }
  section { display: grid; grid-template-columns: 13rem 1fr; gap: 1.5rem; padding: 1.5rem 0;
            border-top: 1px solid var(--line); }
  section:first-of-type { border-top: 0; padding-top: 0; }
  @media (max-width: 45rem) { section { grid-template-columns: 1fr; } }
  h2 { margin: 0 0 .5rem; font-size: 1.15rem; overflow-wrap: anywhere; }
  .note { margin: 0; color: var(--soft); font-size: .85rem; }
  .query img { width: 100%; max-width: 13rem; border-radius: .5rem; border: 2px solid var(--accent);
               margin-bottom: .5rem; }
  ol { list-style: none; margin: 0; padding: 0; display: grid; gap: .9rem;
       grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); align-content: start; }
  figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: .5rem;
           overflow: hidden; height: 100%; }
  li img, .blank { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; background: #fff; }
  .blank { display: grid; place-items: center; background: var(--page); color: var(--soft);
           font-size: .8rem; }
  figcaption { padding: .45rem .6rem .55rem; font-size: .8rem; overflow-wrap: anywhere; }
  figcaption b { color: var(--accent); font-variant-numeric: tabular-nums; }
  figcaption span { display: block; color: var(--soft); }
</style>
<body>
<main>
)";

// A query is put before this line; its presence also tells a contact sheet from another file.
constexpr char kEnd[] = "<!-- imagesearch: end of queries -->\n";
constexpr char kTail[] = "</main>\n</body>\n</html>\n";

std::string Escape(absl::string_view text) {
  return absl::StrReplaceAll(
      text, {{"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"\"", "&quot;"}, {"'", "&#39;"}});
}

std::string ImageTag(absl::string_view jpeg, absl::string_view alternative) {
  return absl::StrCat("<img alt=\"", Escape(alternative), "\" src=\"data:image/jpeg;base64,",
                      absl::Base64Escape(jpeg), "\">");
}

std::string RenderQuery(const SheetQuery& query) {
  std::string html = "<section>\n<div class=\"query\">\n";
  for (const std::string& picture : query.pictures) {
    absl::StrAppend(&html, ImageTag(picture, "the query picture"), "\n");
  }
  absl::StrAppend(&html, "<h2>", Escape(query.title), "</h2>\n");
  absl::StrAppendFormat(&html, "<p class=\"note\">%d hits in %.0f ms</p>\n", query.hits.size(),
                        query.milliseconds);
  if (!query.footnote.empty()) {
    absl::StrAppend(&html, "<p class=\"note\">", Escape(query.footnote), "</p>\n");
  }
  absl::StrAppend(&html, "</div>\n<ol>\n");
  int rank = 0;
  for (const SheetHit& hit : query.hits) {
    const std::string name =
        hit.path.empty() ? hit.id : std::filesystem::path(hit.path).filename().string();
    absl::StrAppend(&html, "<li><figure title=\"", Escape(hit.path.empty() ? hit.id : hit.path),
                    "\">");
    if (hit.thumbnail.empty()) {
      absl::StrAppend(&html, "<div class=\"blank\">no preview</div>");
    } else {
      absl::StrAppend(&html, ImageTag(hit.thumbnail, name));
    }
    absl::StrAppendFormat(&html,
                          "<figcaption>%d. <b>%.3f</b><span>%s</span></figcaption></figure></li>\n",
                          ++rank, hit.score, Escape(name));
  }
  absl::StrAppend(&html, "</ol>\n</section>\n");
  return html;
}

}  // namespace

std::string RenderContactSheet(const SheetQuery& query) {
  return absl::StrCat(kHead, RenderQuery(query), kEnd, kTail);
}

absl::Status WriteContactSheet(const std::string& path, const SheetQuery& query, bool append) {
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) {
    auto page = ReadFile(path);
    if (!page.ok()) return page.status();
    const size_t end = page->rfind(kEnd);
    if (!page->empty() && end == std::string::npos) {
      return Error(absl::StatusCode::kFailedPrecondition, "NOT_A_CONTACT_SHEET",
                   absl::StrCat(path, " exists and is not a contact sheet; it is left alone"));
    }
    if (append && end != std::string::npos) {
      page->insert(end, RenderQuery(query));
      return WriteFile(path, *page);
    }
  }
  return WriteFile(path, RenderContactSheet(query));
}

}  // namespace imagesearch::client
