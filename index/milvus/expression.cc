// Every leaf becomes an expression that is either true or false: a missing path is asked for with
// `exists` first, since newer servers count a comparison with a missing value as unknown, and NOT
// of unknown is not true.
#include "index/milvus/expression.h"

#include <optional>
#include <utility>
#include <variant>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "index/filter/expression.h"
#include "index/milvus/session.h"
#include "index/milvus/terms.h"

namespace imagesearch::index {
namespace {

constexpr char kFalse[] = "expires < 0";  // no image expires before 1970
constexpr char kTrue[] = "expires >= 0";

// The column `terms` by type and path.
std::string Terms(absl::string_view type, absl::string_view path) {
  return absl::StrCat("terms[\"", type, "\"][\"", path, "\"]");
}

std::string Exists(absl::string_view operand) { return absl::StrCat("(exists ", operand, ")"); }

std::string Contains(const std::string& path, absl::string_view term) {
  return absl::StrCat("json_contains(", Terms("c", path), ", ", Quoted(term), ")");
}

std::string ContainsAny(const std::string& path, const std::vector<std::string>& terms) {
  if (terms.size() == 1) return Contains(path, terms[0]);
  return absl::StrCat("json_contains_any(", Terms("c", path), ", [",
                      absl::StrJoin(terms, ", ",
                                    [](std::string* out, const std::string& term) {
                                      absl::StrAppend(out, Quoted(term));
                                    }),
                      "])");
}

// Always with a point or an exponent: a number without is an integer to Milvus.
std::string Number(double value) {
  std::string text = absl::StrFormat("%.17g", value);
  if (text.find_first_of(".e") == std::string::npos) text += ".0";
  return text;
}

const char* Operator(FilterOp op) {
  switch (op) {
    case FilterOp::kNotEqual:
      return "!=";
    case FilterOp::kLess:
      return "<";
    case FilterOp::kLessEqual:
      return "<=";
    case FilterOp::kGreater:
      return ">";
    case FilterOp::kGreaterEqual:
      return ">=";
    default:
      return "==";
  }
}

// The smallest text above all that start with `prefix`, by bytes; nullopt: there is none. UTF-8 in,
// UTF-8 out.
std::optional<std::string> After(std::string prefix) {
  while (!prefix.empty()) {
    size_t start = prefix.size() - 1;
    while (start > 0 && (static_cast<unsigned char>(prefix[start]) & 0xC0) == 0x80) --start;
    uint32_t point = static_cast<unsigned char>(prefix[start]);
    const size_t bytes = prefix.size() - start;
    if (bytes > 1) point &= 0x7Fu >> bytes;
    for (size_t i = start + 1; i < prefix.size(); ++i) {
      point = point << 6 | (static_cast<unsigned char>(prefix[i]) & 0x3F);
    }
    prefix.resize(start);
    if (point >= 0x10FFFF) continue;
    point = point == 0xD7FF ? 0xE000 : point + 1;  // between them are no characters
    if (point < 0x80) {
      prefix.push_back(static_cast<char>(point));
    } else if (point < 0x800) {
      prefix.push_back(static_cast<char>(0xC0 | point >> 6));
      prefix.push_back(static_cast<char>(0x80 | (point & 0x3F)));
    } else {
      if (point < 0x10000) {
        prefix.push_back(static_cast<char>(0xE0 | point >> 12));
      } else {
        prefix.push_back(static_cast<char>(0xF0 | point >> 18));
        prefix.push_back(static_cast<char>(0x80 | (point >> 12 & 0x3F)));
      }
      prefix.push_back(static_cast<char>(0x80 | (point >> 6 & 0x3F)));
      prefix.push_back(static_cast<char>(0x80 | (point & 0x3F)));
    }
    return prefix;
  }
  return std::nullopt;
}

std::string StartsWith(const std::string& operand, const std::string& prefix) {
  std::string out = absl::StrCat("(", operand, " >= ", Quoted(prefix));
  if (const auto after = After(prefix))
    absl::StrAppend(&out, " and ", operand, " < ", Quoted(*after));
  return absl::StrCat(out, ")");
}

absl::Status BadPattern() {
  return NotOnMilvus(
      "filter: on Milvus a * may only stand at the end of a text, and not after ':' (the embedded "
      "index knows both)");
}

absl::StatusOr<std::string> OfId(const FilterNode& node) {
  if (node.op == FilterOp::kPresent) return kTrue;
  if (node.op == FilterOp::kIn) {
    std::vector<std::string> ids;
    for (const Literal& literal : node.values) {
      if (const auto* text = std::get_if<std::string>(&literal)) ids.push_back(*text);
    }
    return ids.empty() ? kFalse : IdIn(ids);
  }
  if (node.values.empty()) return kFalse;
  if (const auto* text = std::get_if<std::string>(&node.values[0])) {
    return absl::StrCat("id ", Operator(node.op), " ", Quoted(*text));
  }
  if (const auto* pattern = std::get_if<Pattern>(&node.values[0])) {
    if (!pattern->middle.empty() || !pattern->suffix.empty()) return BadPattern();
    const std::string starts = StartsWith("id", pattern->prefix);
    return node.op == FilterOp::kNotEqual ? absl::StrCat("not ", starts) : starts;
  }
  return kFalse;
}

// field = literal or field != literal. `path` is encoded.
absl::StatusOr<std::string> Equality(const std::string& path, const Literal& literal, bool equal) {
  if (const auto* pattern = std::get_if<Pattern>(&literal)) {
    if (!pattern->middle.empty() || !pattern->suffix.empty()) return BadPattern();
    const std::string text = Terms("s", path);
    return absl::StrCat("(", Exists(text), equal ? " and " : " and not ",
                        StartsWith(text, pattern->prefix), ")");
  }
  const std::string contains = Contains(path, absl::StrCat("=", ValueTerm(literal)));
  if (equal) return contains;
  if (const auto* truth = std::get_if<bool>(&literal)) {
    return Contains(path, absl::StrCat("=", ValueTerm(!*truth)));
  }
  // Different, and of the same type; null differs from all that is there.
  const char* type = std::holds_alternative<std::string>(literal) ? "s"
                     : std::holds_alternative<double>(literal)    ? "n"
                     : std::holds_alternative<Moment>(literal)    ? "t"
                                                                  : "c";
  return absl::StrCat("(", Exists(Terms(type, path)), " and not ", contains, ")");
}

absl::StatusOr<std::string> Order(const std::string& path, FilterOp op, const Literal& literal) {
  std::string operand, value;
  if (const auto* text = std::get_if<std::string>(&literal)) {
    operand = Terms("s", path);
    value = Quoted(*text);
  } else if (const auto* number = std::get_if<double>(&literal)) {
    operand = Terms("n", path);
    value = Number(*number);
  } else if (const auto* moment = std::get_if<Moment>(&literal)) {
    operand = Terms("t", path);
    value = absl::StrCat(moment->micros);
  } else {
    return kFalse;
  }
  return absl::StrCat("(", Exists(operand), " and ", operand, " ", Operator(op), " ", value, ")");
}

std::string Between(const std::string& operand, double low, double high) {
  return absl::StrCat("(", operand, " >= ", Number(low), " and ", operand, " <= ", Number(high),
                      ")");
}

absl::StatusOr<std::string> InArea(const FieldPath& field, const GeoArea& area) {
  if (area.is_disc) {
    return NotOnMilvus(
        "filter: geo_within can't be said to Milvus; geo_box(field, south, west, north, east) can");
  }
  std::vector<std::string> keys = field.keys;
  keys.push_back("lat");
  const std::string lat = Terms("n", EncodePath(keys));
  keys.back() = "lng";
  const std::string lng = Terms("n", EncodePath(keys));
  const GeoBox& box = area.bounds;
  const std::string across = box.west <= box.east
                                 ? Between(lng, box.west, box.east)
                                 : absl::StrCat("(", Between(lng, box.west, 180), " or ",
                                                Between(lng, -180, box.east), ")");
  return absl::StrCat("(", Exists(lat), " and ", Exists(lng), " and ",
                      Between(lat, box.south, box.north), " and ", across, ")");
}

absl::StatusOr<std::string> Leaf(const FilterNode& node) {
  if (node.field.is_id) return OfId(node);
  const std::string path = EncodePath(node.field.keys);
  switch (node.op) {
    case FilterOp::kPresent:
      return absl::StrCat("(", Exists(Terms("c", path)), " and not ", Contains(path, "=z"), ")");
    case FilterOp::kEqual:
    case FilterOp::kNotEqual:
      return Equality(path, node.values[0], node.op == FilterOp::kEqual);
    case FilterOp::kIn: {
      std::vector<std::string> terms;
      for (const Literal& literal : node.values) {
        terms.push_back(absl::StrCat("=", ValueTerm(literal)));
      }
      return ContainsAny(path, terms);
    }
    case FilterOp::kContains: {
      if (std::holds_alternative<Pattern>(node.values[0])) return BadPattern();
      const std::string term = ValueTerm(node.values[0]);
      return ContainsAny(path, {absl::StrCat("=", term), absl::StrCat(":", term)});
    }
    case FilterOp::kGeo:
      return InArea(node.field, node.area);
    default:
      return Order(path, node.op, node.values[0]);
  }
}

absl::StatusOr<std::string> Combine(const FilterNode& node,
                                    std::vector<absl::StatusOr<std::string>> children) {
  for (const auto& child : children) {
    if (!child.ok()) return child.status();
  }
  if (node.op == FilterOp::kNot) {
    // In parentheses: `not` binds before comparisons.
    return absl::StrCat("(not (", *children[0], "))");
  }
  return absl::StrCat("(",
                      absl::StrJoin(children, node.op == FilterOp::kAnd ? " and " : " or ",
                                    [](std::string* out, const absl::StatusOr<std::string>& child) {
                                      absl::StrAppend(out, *child);
                                    }),
                      ")");
}

}  // namespace

std::string Quoted(absl::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    switch (c) {
      case '"':
      case '\\':
        out.push_back('\\');
        out.push_back(c);
        break;
      case '\n':
        out += "\\n";
        break;
      case '\r':
        out += "\\r";
        break;
      default:
        out.push_back(c);
    }
  }
  out.push_back('"');
  return out;
}

std::string IdIn(absl::Span<const std::string> ids) {
  return absl::StrCat("id in [",
                      absl::StrJoin(ids, ", ",
                                    [](std::string* out, const std::string& id) {
                                      absl::StrAppend(out, Quoted(id));
                                    }),
                      "]");
}

absl::StatusOr<std::string> Translate(const Filter& filter) {
  if (filter.matches_all()) return "";
  return FoldFilter<absl::StatusOr<std::string>>(*filter.root(), Leaf, Combine);
}

std::string And(absl::string_view a, absl::string_view b) {
  if (a.empty() || b.empty()) return absl::StrCat(a, b);
  return absl::StrCat(a, " and ", b);
}

}  // namespace imagesearch::index
