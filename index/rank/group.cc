#include "index/rank/group.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "index/filter/metadata.h"

namespace imagesearch::index {
namespace {

using google::protobuf::Value;

Value GroupValue(const RankedHit& hit, const FieldPath& field) {
  Value value;
  value.set_null_value(google::protobuf::NULL_VALUE);
  if (field.is_id) {
    value.set_string_value(hit.hit.id);
    return value;
  }
  const Value* found = FindValue(hit.hit.metadata, field);
  if (found == nullptr) return value;
  if (found->has_number_value() && std::isfinite(found->number_value())) {
    value.set_number_value(found->number_value() + 0.0);  // -0 is 0
  } else if (found->has_string_value() || found->has_bool_value()) {
    value = *found;
  }
  return value;
}

std::string Quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\' || c == '*') {
      out += {'\\', c};
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + "\"";
}

// As a filter writes it.
std::string LiteralOf(const Value& value) {
  if (value.has_string_value()) return Quoted(value.string_value());
  if (value.has_bool_value()) return value.bool_value() ? "true" : "false";
  return absl::StrFormat("%.17g", value.number_value());
}

std::string And(const std::string& filter, const std::string& condition) {
  return filter.empty() ? condition : absl::StrCat("(", filter, ") AND ", condition);
}

}  // namespace

void Grouper::Add(std::vector<RankedHit> hits) {
  for (RankedHit& hit : hits) {
    Value value = GroupValue(hit, by_.field);
    const auto [place, fresh] = places_.try_emplace(value.SerializeAsString(), groups_.size());
    if (fresh) groups_.push_back({value, {}});
    Group& group = groups_[place->second];
    if (IsFull(group)) continue;
    hit.group = std::move(value);
    group.hits.push_back(std::move(hit));
  }
}

void Grouper::Clear() {
  groups_.clear();
  places_.clear();
}

void Grouper::Refill(size_t group, std::vector<RankedHit> hits) {
  Group& filled = groups_[group];
  if (hits.size() < filled.hits.size()) return;  // deleted meanwhile
  hits.resize(std::min(hits.size(), static_cast<size_t>(by_.limit)));
  for (RankedHit& hit : hits) hit.group = filled.value;
  filled.hits = std::move(hits);
}

std::string Grouper::FilterOf(const std::string& filter, const Group& group) const {
  if (group.value.has_null_value())
    return And(filter, absl::StrCat("NOT has(", by_.field_text, ")"));
  return And(filter, absl::StrCat(by_.field_text, " = ", LiteralOf(group.value)));
}

std::string Grouper::FilterOfOthers(const std::string& filter) const {
  std::string values, result = filter;
  for (const Group& group : groups_) {
    if (group.value.has_null_value()) {
      result = And(result, absl::StrCat("has(", by_.field_text, ")"));
    } else {
      absl::StrAppend(&values, values.empty() ? "" : ", ", LiteralOf(group.value));
    }
  }
  if (values.empty()) return result;
  return And(result, absl::StrCat("NOT ", by_.field_text, " in (", values, ")"));
}

}  // namespace imagesearch::index
