// Typed values and the comparisons on them; agrees with Filter::Matches (filter.cc).
#include "index/filter/value_set.h"

#include <cmath>
#include <string>
#include <utility>
#include <variant>

#include "index/filter/metadata.h"

namespace imagesearch::index {
namespace {

using google::protobuf::Value;

template <typename... F>
struct Overloaded : F... {
  using F::operator()...;
};
template <typename... F>
Overloaded(F...) -> Overloaded<F...>;

// `all` holds each slot of the column. Wide ranges are taken as `all` without the rest.
template <typename T>
Bitmap Range(const SortedColumn<T>& column, FilterOp op, T value, const Bitmap& all) {
  size_t from = 0;
  size_t to = column.size();
  switch (op) {
    case FilterOp::kLess:
      to = column.RankOf(value, false);
      break;
    case FilterOp::kLessEqual:
      to = column.RankOf(value, true);
      break;
    case FilterOp::kGreater:
      from = column.RankOf(value, true);
      break;
    case FilterOp::kGreaterEqual:
      from = column.RankOf(value, false);
      break;
    default:
      from = column.RankOf(value, false);
      to = column.RankOf(value, true);
  }
  SlotCollector slots;
  const auto add = [&](uint32_t slot) { slots.Add(slot); };
  if (to - from <= column.size() / 2) {
    column.Visit(from, to, add);
    return slots.Finish();
  }
  column.Visit(0, from, add);
  column.Visit(to, column.size(), add);
  return all - slots.Finish();
}

}  // namespace

void ValueSet::AddString(absl::string_view text, uint32_t slot) {
  strings_.Add(text, slot);
  with_string_.add(slot);
  if (const auto moment = ParseMoment(text)) {
    moments_.Add(moment->micros, slot);
    with_moment_.add(slot);
  }
}

void ValueSet::RemoveString(absl::string_view text, uint32_t slot) {
  strings_.Remove(text, slot);
  with_string_.remove(slot);
  if (const auto moment = ParseMoment(text)) {
    moments_.Remove(moment->micros, slot);
    with_moment_.remove(slot);
  }
}

void ValueSet::Add(const Value& value, uint32_t slot) {
  if (IsNull(value)) {
    null_.add(slot);
  } else if (value.has_bool_value()) {
    (value.bool_value() ? true_ : false_).add(slot);
  } else if (value.has_string_value()) {
    AddString(value.string_value(), slot);
  } else if (value.has_number_value() && !std::isnan(value.number_value())) {
    numbers_.Add(value.number_value(), slot);
    with_number_.add(slot);
  }
}

void ValueSet::Remove(const Value& value, uint32_t slot) {
  if (IsNull(value)) {
    null_.remove(slot);
  } else if (value.has_bool_value()) {
    (value.bool_value() ? true_ : false_).remove(slot);
  } else if (value.has_string_value()) {
    RemoveString(value.string_value(), slot);
  } else if (value.has_number_value() && !std::isnan(value.number_value())) {
    numbers_.Remove(value.number_value(), slot);
    with_number_.remove(slot);
  }
}

uint64_t ValueSet::memory_bytes() const {
  uint64_t bytes =
      sizeof(*this) + strings_.memory_bytes() + numbers_.memory_bytes() + moments_.memory_bytes();
  for (const Bitmap* bitmap :
       {&with_string_, &with_number_, &with_moment_, &true_, &false_, &null_}) {
    bytes += bitmap->getSizeInBytes(/*portable=*/false);
  }
  return bytes;
}

void ValueSet::Count(const Bitmap& among,
                     absl::FunctionRef<void(const Value&, uint64_t)> visit) const {
  Value value;
  strings_.Count(among, [&](absl::string_view text, uint64_t count) {
    value.set_string_value(std::string(text));
    visit(value, count);
  });
  uint64_t count = 0;
  double number = 0;
  const auto flush = [&] {
    if (count == 0) return;
    value.set_number_value(number);
    visit(value, std::exchange(count, 0));
  };
  numbers_.VisitAll([&](double next, uint32_t slot) {
    if (next != number) flush();
    number = next;
    count += among.contains(slot) ? 1 : 0;
  });
  flush();
  value.set_bool_value(false);
  visit(value, among.and_cardinality(false_));
  value.set_bool_value(true);
  visit(value, among.and_cardinality(true_));
}

void ValueSet::Equal(const Literal& literal, SlotCollector& out) const {
  const auto add = [&](uint32_t slot) { out.Add(slot); };
  std::visit(Overloaded{
                 [&](std::monostate) { out.Add(null_); },
                 [&](bool truth) { out.Add(truth ? true_ : false_); },
                 [&](double number) {
                   numbers_.Visit(numbers_.RankOf(number, false), numbers_.RankOf(number, true),
                                  add);
                 },
                 [&](const std::string& text) { strings_.Equal(text, out); },
                 [&](const Pattern& pattern) { strings_.Match(pattern, out); },
                 [&](Moment moment) {
                   moments_.Visit(moments_.RankOf(moment.micros, false),
                                  moments_.RankOf(moment.micros, true), add);
                 },
             },
             literal);
}

const Bitmap& ValueSet::OfType(const Literal& literal) const {
  if (std::holds_alternative<double>(literal)) return with_number_;
  if (std::holds_alternative<Moment>(literal)) return with_moment_;
  return with_string_;
}

Bitmap ValueSet::Compare(FilterOp op, const Literal& literal) const {
  SlotCollector slots;
  if (op == FilterOp::kEqual) {
    Equal(literal, slots);
    return slots.Finish();
  }
  if (op == FilterOp::kNotEqual) {
    if (const auto* truth = std::get_if<bool>(&literal)) return *truth ? false_ : true_;
    Equal(literal, slots);
    return OfType(literal) - slots.Finish();
  }
  if (const auto* number = std::get_if<double>(&literal)) {
    return Range(numbers_, op, *number, with_number_);
  }
  if (const auto* moment = std::get_if<Moment>(&literal)) {
    return Range(moments_, op, moment->micros, with_moment_);
  }
  if (const auto* text = std::get_if<std::string>(&literal)) strings_.Ordered(op, *text, slots);
  return slots.Finish();
}

}  // namespace imagesearch::index
