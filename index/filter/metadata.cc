// Values, times and points out of google.protobuf.Struct.
#include "index/filter/metadata.h"

#include <cstdint>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/time/civil_time.h"

namespace imagesearch::index {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

// Reads exactly `digits` decimal digits from the front of `text`; -1 when they are not there.
int TakeDigits(absl::string_view& text, int digits) {
  if (text.size() < static_cast<size_t>(digits)) return -1;
  int number = 0;
  for (int i = 0; i < digits; ++i) {
    if (!absl::ascii_isdigit(text[i])) return -1;
    number = number * 10 + (text[i] - '0');
  }
  text.remove_prefix(digits);
  return number;
}

bool Take(absl::string_view& text, char c) {
  if (text.empty() || text[0] != c) return false;
  text.remove_prefix(1);
  return true;
}

// Minutes east of UTC of "Z", "+hh:mm", "-hh:mm" or nothing.
std::optional<int> TakeZone(absl::string_view& text) {
  if (text.empty() || Take(text, 'Z') || Take(text, 'z')) return 0;
  const int sign = text[0] == '-' ? -1 : 1;
  if (!Take(text, '+') && !Take(text, '-')) return std::nullopt;
  const int hours = TakeDigits(text, 2);
  if (!Take(text, ':')) return std::nullopt;
  const int minutes = TakeDigits(text, 2);
  if (hours < 0 || hours > 23 || minutes < 0 || minutes > 59) return std::nullopt;
  return sign * (hours * 60 + minutes);
}

}  // namespace

const Value* FindValue(const Struct& metadata, const FieldPath& path) {
  const Struct* level = &metadata;
  const Value* value = nullptr;
  for (const std::string& key : path.keys) {
    if (level == nullptr) return nullptr;
    const auto it = level->fields().find(key);
    if (it == level->fields().end()) return nullptr;
    value = &it->second;
    level = value->has_struct_value() ? &value->struct_value() : nullptr;
  }
  return value;
}

bool IsNull(const Value& value) {
  return value.kind_case() == Value::kNullValue || value.kind_case() == Value::KIND_NOT_SET;
}

std::optional<Moment> ParseMoment(absl::string_view text) {
  if (text.size() < 10 || text[4] != '-' || text[7] != '-') return std::nullopt;
  const int year = TakeDigits(text, 4);
  Take(text, '-');
  const int month = TakeDigits(text, 2);
  Take(text, '-');
  const int day = TakeDigits(text, 2);
  if (year < 0 || month < 1 || day < 1) return std::nullopt;
  const absl::CivilDay date(year, month, day);
  if (date.month() != month || date.day() != day) return std::nullopt;  // 30 February and the like
  int64_t seconds = (date - absl::CivilDay(1970, 1, 1)) * int64_t{86400};
  int64_t micros = 0;
  if (!text.empty()) {
    if (!Take(text, 'T') && !Take(text, 't') && !Take(text, ' ')) return std::nullopt;
    const int hour = TakeDigits(text, 2);
    if (!Take(text, ':')) return std::nullopt;
    const int minute = TakeDigits(text, 2);
    if (!Take(text, ':')) return std::nullopt;
    const int second = TakeDigits(text, 2);  // 60: a leap second
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60) {
      return std::nullopt;
    }
    if (Take(text, '.')) {
      int64_t scale = 100000;
      if (text.empty() || !absl::ascii_isdigit(text[0])) return std::nullopt;
      for (; !text.empty() && absl::ascii_isdigit(text[0]); text.remove_prefix(1), scale /= 10) {
        micros += (text[0] - '0') * scale;
      }
    }
    const std::optional<int> zone = TakeZone(text);
    if (!zone || !text.empty()) return std::nullopt;
    seconds += hour * 3600 + minute * 60 + second - *zone * 60;
  }
  return Moment{seconds * 1000000 + micros};
}

std::optional<GeoPoint> PointOf(const Value& value) {
  if (!value.has_struct_value()) return std::nullopt;
  const auto& fields = value.struct_value().fields();
  const auto lat = fields.find("lat");
  const auto lng = fields.find("lng");
  if (lat == fields.end() || lng == fields.end() || !lat->second.has_number_value() ||
      !lng->second.has_number_value()) {
    return std::nullopt;
  }
  const GeoPoint point{lat->second.number_value(), lng->second.number_value()};
  if (!IsValid(point)) return std::nullopt;
  return point;
}

}  // namespace imagesearch::index
