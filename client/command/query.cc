// See query.h.
#include "client/command/query.h"

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/error.h"

namespace imagesearch::client {
namespace {

constexpr float kHeaviest = 100;  // the server's limit, imagesearch.proto

// Takes "0.5:" off the front of `text`; nothing when there is no weight.
std::optional<float> TakeWeight(std::string* text) {
  const size_t colon = text->find(':');
  if (colon == std::string::npos || colon == 0 ||
      text->find_first_not_of("0123456789.+-") != colon) {
    return std::nullopt;
  }
  float weight = 0;
  if (!absl::SimpleAtof(text->substr(0, colon), &weight)) return std::nullopt;
  text->erase(0, colon + 1);
  return weight;
}

bool IsFile(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(path, ignored);
}

bool IsPath(const std::string& text) {
  if (absl::StartsWith(text, "./") || absl::StartsWith(text, "../") ||
      absl::StartsWith(text, "/") || absl::StartsWith(text, "~/")) {
    return true;
  }
  return LooksLikePicture(text) && IsFile(text);
}

std::string ExpandHome(const std::string& path) {
  const char* home = std::getenv("HOME");
  return absl::StartsWith(path, "~/") && home != nullptr ? home + path.substr(1) : path;
}

}  // namespace

bool LooksLikePicture(const std::string& path) {
  const std::string extension =
      absl::AsciiStrToLower(std::filesystem::path(path).extension().string());
  for (const char* known :
       {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".heic", ".heif"}) {
    if (extension == known) return true;
  }
  return false;
}

std::optional<std::array<float, 4>> TakeCrop(std::string* path) {
  const size_t hash = path->rfind('#');
  if (hash == std::string::npos || hash == 0 || IsFile(*path)) return std::nullopt;
  const std::vector<std::string> parts = absl::StrSplit(path->substr(hash + 1), ',');
  std::array<float, 4> crop;
  if (parts.size() != crop.size()) return std::nullopt;
  for (size_t i = 0; i < crop.size(); ++i) {
    if (!absl::SimpleAtof(parts[i], &crop[i])) return std::nullopt;
  }
  path->erase(hash);
  return crop;
}

absl::StatusOr<std::vector<QueryTerm>> ParseQuery(const std::vector<std::string>& arguments) {
  std::vector<QueryTerm> terms;
  std::optional<int> sign;  // given, and still without its term
  for (const std::string& argument : arguments) {
    if (argument == "+" || argument == "-") {
      if (sign) return InvalidArgument("BAD_QUERY", "two signs without a term between them");
      sign = argument == "+" ? 1 : -1;
      continue;
    }
    QueryTerm term;
    term.value = argument;
    const std::optional<float> weight = TakeWeight(&term.value);
    term.weight = weight.value_or(1) * sign.value_or(1);
    if (term.weight == 0 || !(std::fabs(term.weight) <= kHeaviest)) {
      return InvalidArgument("BAD_QUERY", absl::StrCat("the weight of '", argument,
                                                       "' must not be 0 nor beyond ", kHeaviest));
    }
    if (absl::StartsWith(term.value, "id:")) {
      term.kind = QueryTerm::Kind::kId;
      term.value.erase(0, 3);
    } else {
      std::string path = ExpandHome(term.value);
      const auto crop = TakeCrop(&path);
      if (IsPath(path)) {
        term.kind = QueryTerm::Kind::kImageFile;
        term.value = std::move(path);
        term.crop = crop;
      }
    }
    if (term.value.empty()) {
      return InvalidArgument("BAD_QUERY", absl::StrCat("'", argument, "' holds no term"));
    }
    const bool continues_text = !sign && !weight && term.kind == QueryTerm::Kind::kText &&
                                !terms.empty() && terms.back().kind == QueryTerm::Kind::kText;
    if (continues_text) {
      absl::StrAppend(&terms.back().value, " ", term.value);
    } else {
      terms.push_back(std::move(term));
    }
    sign.reset();
  }
  if (sign) return InvalidArgument("BAD_QUERY", "the query ends with a sign");
  return terms;
}

std::string DescribeQuery(const std::vector<QueryTerm>& terms) {
  std::string description;
  for (const QueryTerm& term : terms) {
    if (!description.empty()) description += term.weight < 0 ? " - " : " + ";
    if (description.empty() && term.weight < 0) description += "- ";
    switch (term.kind) {
      case QueryTerm::Kind::kText:
        absl::StrAppend(&description, "\"", term.value, "\"");
        break;
      case QueryTerm::Kind::kImageFile:
        description += std::filesystem::path(term.value).filename().string();
        if (term.crop) absl::StrAppend(&description, "#", absl::StrJoin(*term.crop, ","));
        break;
      case QueryTerm::Kind::kId:
        absl::StrAppend(&description, "id:", term.value);
        break;
    }
    if (std::fabs(term.weight) != 1) absl::StrAppend(&description, " x", std::fabs(term.weight));
  }
  return description;
}

}  // namespace imagesearch::client
