// The expression tree of a filter, as the parser makes it and the evaluators read it.
#ifndef IMAGESEARCH_INDEX_FILTER_EXPRESSION_H_
#define IMAGESEARCH_INDEX_FILTER_EXPRESSION_H_

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/string_view.h"
#include "index/filter/geo.h"

namespace imagesearch::index {

// A string with wildcards: `prefix*middle*...*suffix`, where each * stands for any bytes, also
// none.
struct Pattern {
  std::string prefix;
  std::vector<std::string> middle;  // none is empty
  std::string suffix;

  // Time linear in the length of `text`, for every pattern.
  bool Matches(absl::string_view text) const;
};

// A moment in microseconds since 1970-01-01T00:00:00Z.
struct Moment {
  int64_t micros = 0;
};

// monostate is null.
using Literal = std::variant<std::monostate, bool, double, std::string, Pattern, Moment>;

// A field of the metadata, from the outermost key inwards; or the image's id.
struct FieldPath {
  bool is_id = false;
  std::vector<std::string> keys;  // empty for the id
};

enum class FilterOp {
  kAnd,       // all children
  kOr,        // any child
  kNot,       // not the only child
  kEqual,     // field = values[0]
  kNotEqual,  // field != values[0]: there, of the same type, and different
  kLess,      // field < values[0]; as the three below: numbers, strings or moments
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,        // field = any of values
  kContains,  // field : values[0]; a list's element, a struct's key, or the value itself
  kPresent,   // has(field): there and not null
  kGeo,       // field lies in the area
};

struct FilterNode {
  FilterOp op = FilterOp::kAnd;
  std::vector<FilterNode> children;  // kAnd and kOr: two or more; kNot: one; else none
  FieldPath field;
  std::vector<Literal> values;
  GeoArea area;
};

// Folds the tree from the leaves up without recursion. leaf(node) gives a T for a comparison,
// combine(node, std::vector<T>) one for kAnd, kOr and kNot from those of the children, in order.
template <typename T, typename Leaf, typename Combine>
T FoldFilter(const FilterNode& root, Leaf leaf, Combine combine) {
  struct Frame {
    const FilterNode* node;
    std::vector<T> results;
  };
  if (root.children.empty()) return leaf(root);
  std::vector<Frame> stack;
  stack.push_back({&root, {}});
  while (true) {
    Frame& top = stack.back();
    if (top.results.size() < top.node->children.size()) {
      const FilterNode& child = top.node->children[top.results.size()];
      if (child.children.empty()) {
        top.results.push_back(leaf(child));
      } else {
        stack.push_back({&child, {}});
      }
      continue;
    }
    T value = combine(*top.node, std::move(top.results));
    stack.pop_back();
    if (stack.empty()) return value;
    stack.back().results.push_back(std::move(value));
  }
}

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_FILTER_EXPRESSION_H_
