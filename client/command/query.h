// The mixed query of `imagesearch search`: texts, pictures and stored ids, weighted and signed.
//
//   imagesearch search "2:golden retriever" + ./pool.jpg - fruit
//
// An argument `+` or `-` gives the sign of what follows. A term may start with a weight and a
// colon ("0.5:snow"). What is then an existing file named like a picture, or starts with ./ ../ /
// or ~/, is a picture, and one that ends in #x,y,w,h stands for that part of it, in fractions of
// its width and height (./pool.jpg#0.5,0,0.5,0.5 is its top right quarter); what starts with id: is
// a stored image; everything else is text, and texts that follow each other without a sign are
// words of one text.
#ifndef IMAGESEARCH_CLIENT_COMMAND_QUERY_H_
#define IMAGESEARCH_CLIENT_COMMAND_QUERY_H_

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace imagesearch::client {

struct QueryTerm {
  enum class Kind { kText, kImageFile, kId };
  Kind kind = Kind::kText;
  std::string value;  // the text, the path or the id
  float weight = 1;
  // Of a picture: x, y, width and height of the part to search with.
  std::optional<std::array<float, 4>> crop = std::nullopt;

  friend bool operator==(const QueryTerm& a, const QueryTerm& b) {
    return a.kind == b.kind && a.value == b.value && a.weight == b.weight && a.crop == b.crop;
  }
};

// Takes "#x,y,w,h" off the end of a file name; nothing when there is none or a file has that name.
std::optional<std::array<float, 4>> TakeCrop(std::string* path);

// INVALID_ARGUMENT BAD_QUERY for a sign without a term, or a weight of 0 or beyond 100.
absl::StatusOr<std::vector<QueryTerm>> ParseQuery(const std::vector<std::string>& arguments);

// The query for people: `"golden retriever" x2 + pool.jpg - "fruit"`.
std::string DescribeQuery(const std::vector<QueryTerm>& terms);

// By its extension: a format that imagesearchd reads, or one that the command can convert.
bool LooksLikePicture(const std::string& path);

}  // namespace imagesearch::client

#endif  // IMAGESEARCH_CLIENT_COMMAND_QUERY_H_
