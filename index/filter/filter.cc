// Parsing, and the answer for one record. FieldIndex gives the same answers for many at once.
#include "index/filter/filter.h"

#include <cmath>
#include <cstring>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "index/filter/expression.h"
#include "index/filter/lexer.h"
#include "index/filter/metadata.h"
#include "index/filter/parser.h"

namespace imagesearch::index {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

template <typename T>
bool Holds(FilterOp op, const T& field, const T& value) {
  switch (op) {
    case FilterOp::kNotEqual:
      return field != value;
    case FilterOp::kLess:
      return field < value;
    case FilterOp::kLessEqual:
      return field <= value;
    case FilterOp::kGreater:
      return field > value;
    case FilterOp::kGreaterEqual:
      return field >= value;
    default:
      return field == value;
  }
}

bool StringHolds(FilterOp op, absl::string_view field, const Literal& literal) {
  if (const auto* text = std::get_if<std::string>(&literal)) {
    return Holds(op, field, absl::string_view(*text));
  }
  if (const auto* pattern = std::get_if<Pattern>(&literal)) {
    return pattern->Matches(field) == (op != FilterOp::kNotEqual);
  }
  if (const auto* moment = std::get_if<Moment>(&literal)) {
    const std::optional<Moment> when = ParseMoment(field);
    return when && Holds(op, when->micros, moment->micros);
  }
  return false;
}

// `op` is a comparison with one value.
bool ValueHolds(FilterOp op, const Value& field, const Literal& literal) {
  if (std::holds_alternative<std::monostate>(literal)) {
    return IsNull(field) == (op != FilterOp::kNotEqual);
  }
  switch (field.kind_case()) {
    case Value::kStringValue:
      return StringHolds(op, field.string_value(), literal);
    case Value::kNumberValue: {
      const auto* number = std::get_if<double>(&literal);
      return number != nullptr && !std::isnan(field.number_value()) &&
             Holds(op, field.number_value(), *number);
    }
    case Value::kBoolValue: {
      const auto* truth = std::get_if<bool>(&literal);
      return truth != nullptr && Holds(op, field.bool_value(), *truth);
    }
    default:
      return false;
  }
}

bool Contains(const Value& field, const Literal& literal) {
  if (field.has_list_value()) {
    for (const Value& element : field.list_value().values()) {
      if (ValueHolds(FilterOp::kEqual, element, literal)) return true;
    }
    return false;
  }
  if (field.has_struct_value()) {
    for (const auto& [key, value] : field.struct_value().fields()) {
      if (StringHolds(FilterOp::kEqual, key, literal)) return true;
    }
    return false;
  }
  return ValueHolds(FilterOp::kEqual, field, literal);
}

bool AnyHolds(const FilterNode& node, const Value& field) {
  for (const Literal& literal : node.values) {
    if (ValueHolds(FilterOp::kEqual, field, literal)) return true;
  }
  return false;
}

bool IdHolds(const FilterNode& node, absl::string_view id) {
  if (node.op == FilterOp::kPresent) return true;
  for (const Literal& literal : node.values) {
    if (StringHolds(node.op, id, literal)) return true;
  }
  return false;
}

bool LeafHolds(const FilterNode& node, absl::string_view id, const Struct& metadata) {
  if (node.field.is_id) return IdHolds(node, id);
  const Value* field = FindValue(metadata, node.field);
  if (field == nullptr) return false;
  switch (node.op) {
    case FilterOp::kPresent:
      return !IsNull(*field);
    case FilterOp::kIn:
      return AnyHolds(node, *field);
    case FilterOp::kContains:
      return Contains(*field, node.values[0]);
    case FilterOp::kGeo: {
      const std::optional<GeoPoint> point = PointOf(*field);
      return point && node.area.Contains(*point);
    }
    default:
      return ValueHolds(node.op, *field, node.values[0]);
  }
}

bool Combine(const FilterNode& node, const std::vector<char>& children) {
  switch (node.op) {
    case FilterOp::kNot:
      return !children[0];
    case FilterOp::kAnd:
      for (char child : children) {
        if (!child) return false;
      }
      return true;
    default:
      for (char child : children) {
        if (child) return true;
      }
      return false;
  }
}

}  // namespace

bool Pattern::Matches(absl::string_view text) const {
  if (text.size() < prefix.size() + suffix.size() || !absl::StartsWith(text, prefix) ||
      !absl::EndsWith(text, suffix)) {
    return false;
  }
  text = text.substr(prefix.size(), text.size() - prefix.size() - suffix.size());
  // The leftmost place for each part leaves the most room for the rest.
  for (const std::string& part : middle) {
    const void* at = memmem(text.data(), text.size(), part.data(), part.size());
    if (at == nullptr) return false;
    text.remove_prefix(static_cast<const char*>(at) - text.data() + part.size());
  }
  return true;
}

absl::StatusOr<Filter> Filter::Parse(absl::string_view text, const Limits& limits) {
  if (text.size() > limits.max_filter_bytes) {
    return FilterError(limits.max_filter_bytes + 1,
                       absl::StrCat("the filter has ", text.size(), " bytes, the limit is ",
                                    limits.max_filter_bytes));
  }
  Filter filter;
  if (absl::StripAsciiWhitespace(text).empty()) return filter;
  absl::StatusOr<FilterNode> root = ParseFilter(text, limits);
  if (!root.ok()) return root.status();
  filter.root_ = std::make_shared<const FilterNode>(*std::move(root));
  return filter;
}

bool Filter::Matches(absl::string_view id, const Struct& metadata) const {
  if (root_ == nullptr) return true;
  return FoldFilter<char>(
      *root_, [&](const FilterNode& leaf) { return LeafHolds(leaf, id, metadata); }, Combine);
}

}  // namespace imagesearch::index
