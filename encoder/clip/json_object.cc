// Typed reads from JSON.
#include "encoder/clip/json_object.h"

#include <cmath>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "encoder/clip/mapped_file.h"

namespace imagesearch::encoder {
namespace {
constexpr uint64_t kMaxJsonBytes = 100'000'000;

const nlohmann::json& EmptyObject() {
  static const nlohmann::json* const kEmpty = new nlohmann::json(nlohmann::json::object());
  return *kEmpty;
}
}  // namespace

absl::StatusOr<nlohmann::json> ReadJsonFile(const std::string& path) {
  absl::StatusOr<std::unique_ptr<MappedFile>> file = MappedFile::Open(path);
  if (!file.ok()) return file.status();
  if ((*file)->size() > kMaxJsonBytes) {
    return Error(absl::StatusCode::kDataLoss, "MODEL_DAMAGED",
                 absl::StrCat(path, ": ", (*file)->size(), " bytes, over ", kMaxJsonBytes));
  }
  const char* text = reinterpret_cast<const char*>((*file)->data());
  nlohmann::json value = nlohmann::json::parse(text, text + (*file)->size(), nullptr, false);
  if (!value.is_object()) {
    return Error(absl::StatusCode::kDataLoss, "MODEL_DAMAGED",
                 absl::StrCat(path, ": not a JSON object"));
  }
  return value;
}

void JsonObject::Fail(absl::string_view what) const {
  if (status_->ok())
    *status_ = InvalidArgument("MODEL_UNSUPPORTED", absl::StrCat(where_, ": ", what));
}

const nlohmann::json* JsonObject::Find(const char* key) const {
  const auto it = object_.find(key);
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

bool JsonObject::Has(const char* key) const { return Find(key) != nullptr; }

int JsonObject::Int(const char* key, int fallback, int low, int high) const {
  return static_cast<int>(Number(key, fallback, low, high));
}

double JsonObject::Number(const char* key, double fallback, double low, double high) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return fallback;
  const double number = value->is_number() ? value->get<double>() : NAN;
  if (!(number >= low && number <= high)) {  // NaN too
    Fail(absl::StrCat(key, " must be a number from ", low, " to ", high));
    return fallback;
  }
  return number;
}

bool JsonObject::Bool(const char* key, bool fallback) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) {
    Fail(absl::StrCat(key, " must be true or false"));
    return fallback;
  }
  return value->get<bool>();
}

std::string JsonObject::String(const char* key, const std::string& fallback) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_string()) {
    Fail(absl::StrCat(key, " must be a string"));
    return fallback;
  }
  return value->get<std::string>();
}

std::vector<double> JsonObject::Numbers(const char* key, std::vector<double> fallback,
                                        size_t count) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return fallback;
  std::vector<double> numbers;
  if (value->is_array()) {
    for (const nlohmann::json& item : *value) {
      if (item.is_number() && std::isfinite(item.get<double>()))
        numbers.push_back(item.get<double>());
    }
  }
  if (!value->is_array() || value->size() != count || numbers.size() != count) {
    Fail(absl::StrCat(key, " must be ", count, " numbers"));
    return fallback;
  }
  return numbers;
}

JsonObject JsonObject::Object(const char* key) const {
  const nlohmann::json* value = Find(key);
  if (value != nullptr && !value->is_object()) Fail(absl::StrCat(key, " must be an object"));
  const bool usable = value != nullptr && value->is_object();
  return JsonObject(usable ? *value : EmptyObject(), absl::StrCat(where_, ": ", key), status_);
}

std::vector<JsonObject> JsonObject::Objects(const char* key) const {
  std::vector<JsonObject> objects;
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return objects;
  if (!value->is_array()) {
    Fail(absl::StrCat(key, " must be an array"));
    return objects;
  }
  for (size_t i = 0; i < value->size(); ++i) {
    if (!(*value)[i].is_object()) {
      Fail(absl::StrCat(key, "[", i, "] must be an object"));
      return {};
    }
    objects.emplace_back((*value)[i], absl::StrCat(where_, ": ", key, "[", i, "]"), status_);
  }
  return objects;
}

}  // namespace imagesearch::encoder
