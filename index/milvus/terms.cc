// Takes metadata apart; see the header for the form.
#include "index/milvus/terms.h"

#include <cmath>
#include <optional>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "index/filter/metadata.h"
#include "nlohmann/json.hpp"

namespace imagesearch::index {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;
using Json = nlohmann::json;

std::string EncodeKey(absl::string_view key) {
  if (key.empty()) return "%";  // Milvus asks for no key without a name
  std::string out;
  for (const char c : key) {
    if (absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '_') {
      out.push_back(c);
    } else {
      absl::StrAppendFormat(&out, "%%%02X", static_cast<unsigned char>(c));
    }
  }
  return out;
}

// The terms of a text, each behind `mark`.
void AddText(absl::string_view mark, const std::string& text, Json* terms) {
  terms->push_back(absl::StrCat(mark, ValueTerm(text)));
  if (const std::optional<Moment> moment = ParseMoment(text)) {
    terms->push_back(absl::StrCat(mark, ValueTerm(*moment)));
  }
}

// The terms of a scalar, each behind `mark`; none of a list, a struct or NaN, which equal nothing.
void AddScalar(absl::string_view mark, const Value& value, Json* terms) {
  if (IsNull(value)) {
    terms->push_back(absl::StrCat(mark, ValueTerm(std::monostate())));
  } else if (value.has_string_value()) {
    AddText(mark, value.string_value(), terms);
  } else if (value.has_number_value() && !std::isnan(value.number_value())) {
    terms->push_back(absl::StrCat(mark, ValueTerm(value.number_value())));
  } else if (value.has_bool_value()) {
    terms->push_back(absl::StrCat(mark, ValueTerm(value.bool_value())));
  }
}

class Collector {
 public:
  // Depth is bounded by Limits::max_metadata_depth.
  void AddFields(const Struct& fields, const std::string& prefix) {
    for (const auto& [key, value] : fields.fields()) {
      const std::string path = absl::StrCat(prefix, EncodeKey(key));
      Json terms = Json::array();
      if (value.has_struct_value()) {
        terms.push_back("o");
        std::set<std::string> keys;  // in order, so that equal metadata make equal terms
        for (const auto& [inner, unused] : value.struct_value().fields()) keys.insert(inner);
        for (const std::string& inner : keys) AddText(":", inner, &terms);
        AddFields(value.struct_value(), absl::StrCat(path, "."));
      } else if (value.has_list_value()) {
        terms.push_back("l");
        for (const Value& element : value.list_value().values()) AddScalar(":", element, &terms);
      } else {
        AddScalar("=", value, &terms);
        if (value.has_number_value()) {
          root_["n"][path] = value.number_value() + 0.0;  // -0 becomes 0
        }
        if (value.has_string_value()) {
          root_["s"][path] = value.string_value();
          if (const auto moment = ParseMoment(value.string_value())) {
            root_["t"][path] = moment->micros;
          }
        }
      }
      root_["c"][path] = std::move(terms);
    }
  }

  std::string Dump() const { return root_.dump(-1, ' ', false, Json::error_handler_t::replace); }

 private:
  Json root_ = Json::object();
};

}  // namespace

std::string EncodePath(const std::vector<std::string>& keys) {
  return absl::StrJoin(keys, ".", [](std::string* out, const std::string& key) {
    absl::StrAppend(out, EncodeKey(key));
  });
}

std::string ValueTerm(const Literal& literal) {
  if (const auto* text = std::get_if<std::string>(&literal)) return absl::StrCat("s", *text);
  if (const auto* number = std::get_if<double>(&literal)) {
    return absl::StrFormat("n%.17g", *number == 0 ? 0.0 : *number);  // -0 is 0
  }
  if (const auto* truth = std::get_if<bool>(&literal)) return *truth ? "b1" : "b0";
  if (const auto* moment = std::get_if<Moment>(&literal)) return absl::StrCat("t", moment->micros);
  return "z";
}

std::string TermsJson(const Struct& metadata) {
  Collector collector;
  collector.AddFields(metadata, "");
  return collector.Dump();
}

}  // namespace imagesearch::index
