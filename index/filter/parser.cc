// The grammar of docs/filters.md, with AIP-160's precedence: NOT binds tightest, then OR, then AND.
#include "index/filter/parser.h"

#include <cmath>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "index/filter/lexer.h"

namespace imagesearch::index {
namespace {

constexpr char kExpectedTerm[] = "expected a field, a function, NOT or '('";
constexpr char kExpectedValue[] =
    "expected a value: a string in quotes, a number, true, false, null or a time";

// AND and OR of one operand are that operand.
FilterNode Join(FilterOp op, std::vector<FilterNode> operands) {
  if (operands.size() == 1) return std::move(operands[0]);
  FilterNode node;
  node.op = op;
  node.children = std::move(operands);
  return node;
}

Pattern MakePattern(const std::string& text, const std::vector<size_t>& stars) {
  Pattern pattern;
  pattern.prefix = text.substr(0, stars.front());
  for (size_t i = 1; i < stars.size(); ++i) {
    const size_t start = stars[i - 1] + 1;
    if (stars[i] > start) pattern.middle.push_back(text.substr(start, stars[i] - start));
  }
  pattern.suffix = text.substr(stars.back() + 1);
  return pattern;
}

std::optional<FilterOp> Comparison(const Token& token) {
  if (token.IsSymbol("=")) return FilterOp::kEqual;
  if (token.IsSymbol("!=")) return FilterOp::kNotEqual;
  if (token.IsSymbol("<")) return FilterOp::kLess;
  if (token.IsSymbol("<=")) return FilterOp::kLessEqual;
  if (token.IsSymbol(">")) return FilterOp::kGreater;
  if (token.IsSymbol(">=")) return FilterOp::kGreaterEqual;
  if (token.IsSymbol(":")) return FilterOp::kContains;
  return std::nullopt;
}

bool IsOrder(FilterOp op) { return op >= FilterOp::kLess && op <= FilterOp::kGreaterEqual; }

class Parser {
 public:
  Parser(std::vector<Token> tokens, const Limits& limits)
      : tokens_(std::move(tokens)), limits_(limits) {}

  absl::StatusOr<FilterNode> Run();

 private:
  // One open parenthesis, or the whole text: operands of AND that are complete, and those of the OR
  // that is being read.
  struct Group {
    size_t column = 0;  // of its '('
    std::vector<FilterNode> ands;
    std::vector<FilterNode> ors;
    int nots = 0;        // NOTs read just before the next operand
    int nots_above = 0;  // nesting by NOTs and '(' outside this group
  };

  const Token& Peek() const { return tokens_[at_]; }
  const Token& Take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool TakeSymbol(absl::string_view symbol) {
    if (!Peek().IsSymbol(symbol)) return false;
    ++at_;
    return true;
  }
  absl::Status Unexpected(absl::string_view expected) const {
    return FilterError(Peek().column, absl::StrCat(expected, ", found ", Describe(Peek())));
  }
  absl::Status CountNode(size_t column) {
    if (++nodes_ <= limits_.max_filter_nodes) return absl::OkStatus();
    return FilterError(column, absl::StrCat("the filter has more than ", limits_.max_filter_nodes,
                                            " comparisons, ANDs, ORs and NOTs"));
  }
  absl::Status CheckDepth(size_t column) const {
    const Group& group = groups_.back();
    if (group.nots_above + group.nots <= static_cast<int>(limits_.max_filter_depth)) {
      return absl::OkStatus();
    }
    return FilterError(column, absl::StrCat("parentheses and NOTs are nested deeper than ",
                                            limits_.max_filter_depth));
  }

  // Reads up to and including one operand; opens groups on the way.
  absl::Status ReadOperand();
  absl::Status AddOperand(FilterNode operand);
  absl::StatusOr<FilterNode> CloseGroup();

  absl::StatusOr<FilterNode> ReadRestriction();
  absl::StatusOr<FilterNode> ReadFunction();
  absl::StatusOr<FieldPath> ReadField();
  absl::StatusOr<Literal> ReadValue(const FieldPath& field, bool wildcards);
  absl::Status ReadList(FilterNode& node);
  absl::StatusOr<double> ReadNumber(absl::string_view name, double lowest, double highest);
  absl::Status ReadArguments(std::vector<std::pair<absl::string_view, double*>> names);
  absl::Status ExpectSymbol(absl::string_view symbol);

  const std::vector<Token> tokens_;
  const Limits& limits_;
  size_t at_ = 0;
  uint32_t nodes_ = 0;
  std::vector<Group> groups_;
};

absl::StatusOr<FilterNode> Parser::Run() {
  groups_.emplace_back();
  while (true) {
    if (absl::Status status = ReadOperand(); !status.ok()) return status;
    // After an operand: close groups, then AND, OR or the end.
    while (groups_.size() > 1 && Peek().IsSymbol(")")) {
      Take();
      absl::StatusOr<FilterNode> node = CloseGroup();
      if (!node.ok()) return node.status();
      if (absl::Status status = AddOperand(*std::move(node)); !status.ok()) return status;
    }
    Group& group = groups_.back();
    const Token& token = Peek();
    if (token.IsKeyword("OR")) {
      // The first OR of a chain makes its node.
      if (group.ors.size() == 1) {
        if (absl::Status status = CountNode(token.column); !status.ok()) return status;
      }
      Take();
    } else if (token.IsKeyword("AND")) {
      if (group.ands.empty()) {
        if (absl::Status status = CountNode(token.column); !status.ok()) return status;
      }
      group.ands.push_back(Join(FilterOp::kOr, std::exchange(group.ors, {})));
      Take();
    } else if (token.kind == TokenKind::kEnd && groups_.size() == 1) {
      return CloseGroup();
    } else if (groups_.size() > 1) {
      return FilterError(token.column,
                         absl::StrCat("expected AND, OR or the ')' of the '(' in column ",
                                      group.column, ", found ", Describe(token)));
    } else {
      return Unexpected("expected AND, OR or the end of the filter");
    }
  }
}

absl::StatusOr<FilterNode> Parser::CloseGroup() {
  Group group = std::move(groups_.back());
  groups_.pop_back();
  group.ands.push_back(Join(FilterOp::kOr, std::move(group.ors)));
  return Join(FilterOp::kAnd, std::move(group.ands));
}

absl::Status Parser::AddOperand(FilterNode operand) {
  Group& group = groups_.back();
  if (std::exchange(group.nots, 0) % 2 == 1) {
    FilterNode node;
    node.op = FilterOp::kNot;
    node.children.push_back(std::move(operand));
    operand = std::move(node);
  }
  group.ors.push_back(std::move(operand));
  return absl::OkStatus();
}

absl::Status Parser::ReadOperand() {
  while (true) {
    const Token& token = Peek();
    if (token.IsKeyword("NOT") || token.IsSymbol("-")) {
      if (absl::Status status = CountNode(token.column); !status.ok()) return status;
      ++groups_.back().nots;
      if (absl::Status status = CheckDepth(token.column); !status.ok()) return status;
      Take();
    } else if (token.IsSymbol("(")) {
      Group inner;
      inner.column = token.column;
      inner.nots_above = groups_.back().nots_above + groups_.back().nots + 1;
      groups_.push_back(std::move(inner));
      if (absl::Status status = CheckDepth(token.column); !status.ok()) return status;
      Take();
    } else {
      break;
    }
  }
  if (absl::Status status = CountNode(Peek().column); !status.ok()) return status;
  absl::StatusOr<FilterNode> node = ReadRestriction();
  if (!node.ok()) return node.status();
  return AddOperand(*std::move(node));
}

absl::StatusOr<FilterNode> Parser::ReadRestriction() {
  const Token& first = Peek();
  const bool is_keyword = first.IsKeyword("AND") || first.IsKeyword("OR") || first.IsKeyword("IN");
  if ((first.kind != TokenKind::kWord && first.kind != TokenKind::kQuotedField) || is_keyword) {
    return Unexpected(kExpectedTerm);
  }
  if (first.kind == TokenKind::kWord && tokens_[at_ + 1].IsSymbol("(")) return ReadFunction();

  FilterNode node;
  absl::StatusOr<FieldPath> field = ReadField();
  if (!field.ok()) return field.status();
  node.field = *std::move(field);
  if (Peek().IsKeyword("IN")) {
    Take();
    node.op = FilterOp::kIn;
    if (absl::Status status = ReadList(node); !status.ok()) return status;
    return node;
  }
  const std::optional<FilterOp> op = Comparison(Peek());
  if (!op) {
    if (Peek().IsKeyword("NOT")) {
      return FilterError(Peek().column, "NOT goes before the field: NOT field in (...)");
    }
    return Unexpected("expected =, !=, <, <=, >, >=, ':' or IN after the field");
  }
  node.op = *op;
  Take();
  if (node.op == FilterOp::kContains && TakeSymbol("*")) {
    node.op = FilterOp::kPresent;
    return node;
  }
  const size_t column = Peek().column;
  absl::StatusOr<Literal> value = ReadValue(node.field, !IsOrder(node.op));
  if (!value.ok()) return value.status();
  if (IsOrder(node.op) &&
      (std::holds_alternative<bool>(*value) || std::holds_alternative<std::monostate>(*value))) {
    return FilterError(column, "only numbers, strings and times have an order; use = or !=");
  }
  node.values.push_back(*std::move(value));
  return node;
}

absl::StatusOr<FieldPath> Parser::ReadField() {
  FieldPath path;
  const Token& first = Take();
  if (first.kind == TokenKind::kWord && first.text == "id") {
    if (Peek().IsSymbol(".")) {
      return FilterError(Peek().column,
                         "the id has no fields; a metadata field of this name is "
                         "written `id`, in backticks");
    }
    path.is_id = true;
    return path;
  }
  path.keys.push_back(first.text);
  while (TakeSymbol(".")) {
    if (Peek().kind != TokenKind::kWord && Peek().kind != TokenKind::kQuotedField) {
      return Unexpected(
          "expected the name of a nested field after '.' (other names than words go "
          "into backticks)");
    }
    path.keys.push_back(Take().text);
  }
  return path;
}

absl::StatusOr<Literal> Parser::ReadValue(const FieldPath& field, bool wildcards) {
  const Token& token = Peek();
  std::optional<Literal> value;
  if (token.kind == TokenKind::kString) {
    value = wildcards && !token.stars.empty() ? Literal(MakePattern(token.text, token.stars))
                                              : Literal(token.text);
  } else if (token.kind == TokenKind::kNumber) {
    value = token.number;
  } else if (token.IsSymbol("-") && tokens_[at_ + 1].kind == TokenKind::kNumber) {
    Take();
    value = -Peek().number;
  } else if (token.kind == TokenKind::kMoment) {
    value = token.moment;
  } else if (token.IsKeyword("TRUE") || token.IsKeyword("FALSE")) {
    value = token.IsKeyword("TRUE");
  } else if (token.IsKeyword("NULL")) {
    value = std::monostate();
  } else if (token.kind == TokenKind::kWord) {
    return Unexpected(absl::StrCat(kExpectedValue, " (text goes into quotes)"));
  } else {
    return Unexpected(kExpectedValue);
  }
  if (field.is_id && token.kind != TokenKind::kString) {
    return FilterError(token.column, absl::StrCat("an id is a string: write it in quotes, found ",
                                                  Describe(token)));
  }
  Take();
  return *std::move(value);
}

absl::Status Parser::ReadList(FilterNode& node) {
  const bool square = Peek().IsSymbol("[");
  if (!square && !Peek().IsSymbol("(")) {
    return Unexpected("expected '(' and the values after IN");
  }
  Take();
  do {
    if (node.values.size() == limits_.max_filter_in) {
      return FilterError(Peek().column, absl::StrCat("an IN list has more than ",
                                                     limits_.max_filter_in, " values"));
    }
    absl::StatusOr<Literal> value = ReadValue(node.field, /*wildcards=*/false);
    if (!value.ok()) return value.status();
    node.values.push_back(*std::move(value));
  } while (TakeSymbol(","));
  return ExpectSymbol(square ? "]" : ")");
}

absl::Status Parser::ExpectSymbol(absl::string_view symbol) {
  if (TakeSymbol(symbol)) return absl::OkStatus();
  return Unexpected(symbol == "," ? std::string("expected ','")
                                  : absl::StrCat("expected ',' or '", symbol, "'"));
}

absl::StatusOr<FilterNode> Parser::ReadFunction() {
  const Token& name = Take();
  const std::string function = absl::AsciiStrToLower(name.text);
  const bool geo = function == "geo_within" || function == "geo_box";
  if (!geo && function != "has" && function != "starts_with") {
    return FilterError(
        name.column,
        absl::StrCat("unknown function ", Describe(name), "; there are has(field), ",
                     "starts_with(field, \"text\"), ", "geo_within(field, lat, lng, metres) and ",
                     "geo_box(field, south, west, north, east)"));
  }
  Take();  // (
  if (Peek().kind != TokenKind::kWord && Peek().kind != TokenKind::kQuotedField) {
    return Unexpected(absl::StrCat("expected a field as the first argument of ", function));
  }
  const size_t field_column = Peek().column;
  FilterNode node;
  absl::StatusOr<FieldPath> field = ReadField();
  if (!field.ok()) return field.status();
  node.field = *std::move(field);
  if (function == "has") {
    node.op = FilterOp::kPresent;
    if (TakeSymbol(")")) return node;
    return Unexpected("expected ')'");
  }
  if (function == "starts_with") {
    node.op = FilterOp::kEqual;
    if (absl::Status status = ExpectSymbol(","); !status.ok()) return status;
    if (Peek().kind != TokenKind::kString) return Unexpected("expected a string in quotes");
    Pattern pattern;
    pattern.prefix = Take().text;
    node.values.push_back(std::move(pattern));
    if (TakeSymbol(")")) return node;
    return Unexpected("expected ')'");
  }
  if (node.field.is_id) {
    return FilterError(field_column,
                       absl::StrCat(function, " takes a field with lat and lng, not the id"));
  }
  node.op = FilterOp::kGeo;
  if (function == "geo_within") {
    GeoPoint center;
    double metres = 0;
    absl::Status status =
        ReadArguments({{"lat", &center.lat}, {"lng", &center.lng}, {"metres", &metres}});
    if (!status.ok()) return status;
    node.area = GeoArea::Disc(center, metres);
  } else {
    GeoBox box;
    const size_t south_column = tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_].column;
    absl::Status status = ReadArguments(
        {{"south", &box.south}, {"west", &box.west}, {"north", &box.north}, {"east", &box.east}});
    if (!status.ok()) return status;
    if (box.south > box.north) {
      return FilterError(south_column, "south of geo_box must not be above north");
    }
    node.area = GeoArea::Box(box);
  }
  return node;
}

absl::Status Parser::ReadArguments(std::vector<std::pair<absl::string_view, double*>> names) {
  for (const auto& [name, value] : names) {
    if (!TakeSymbol(",")) return Unexpected(absl::StrCat("expected ',' and ", name));
    const bool longitude = name == "lng" || name == "west" || name == "east";
    const bool metres = name == "metres";
    const double highest = metres ? HUGE_VAL : longitude ? 180 : 90;
    absl::StatusOr<double> number = ReadNumber(name, metres ? 0 : -highest, highest);
    if (!number.ok()) return number.status();
    *value = *number;
  }
  if (TakeSymbol(")")) return absl::OkStatus();
  return Unexpected("expected ')'");
}

absl::StatusOr<double> Parser::ReadNumber(absl::string_view name, double lowest, double highest) {
  const size_t column = Peek().column;
  const bool negative = TakeSymbol("-");
  if (Peek().kind != TokenKind::kNumber) {
    return Unexpected(absl::StrCat("expected a number for ", name));
  }
  const double number = negative ? -Peek().number : Peek().number;
  if (number < lowest || number > highest) {
    return FilterError(column,
                       std::isfinite(highest)
                           ? absl::StrCat(name, " must lie in [", lowest, ", ", highest, "]")
                           : absl::StrCat(name, " must not be below ", lowest));
  }
  Take();
  return number;
}

}  // namespace

absl::StatusOr<FilterNode> ParseFilter(absl::string_view text, const Limits& limits) {
  absl::StatusOr<std::vector<Token>> tokens = Tokenize(text);
  if (!tokens.ok()) return tokens.status();
  return Parser(*std::move(tokens), limits).Run();
}

}  // namespace imagesearch::index
