// Reads typed, range-checked values from the JSON files of a checkpoint, with errors that name the
// file and the key.
#ifndef IMAGESEARCH_ENCODER_CLIP_JSON_OBJECT_H_
#define IMAGESEARCH_ENCODER_CLIP_JSON_OBJECT_H_

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace imagesearch::encoder {

// A JSON object from a file of at most 100 MB. NOT_FOUND MODEL_FILE_MISSING, DATA_LOSS
// MODEL_DAMAGED when it is not a JSON object.
absl::StatusOr<nlohmann::json> ReadJsonFile(const std::string& path);

// A view of one object that gathers the first error instead of returning one at each read: read
// everything, then look at the status. A key that is absent or null gives the default. Errors are
// INVALID_ARGUMENT MODEL_UNSUPPORTED.
class JsonObject {
 public:
  // `where` is put before the key in messages ("DIR/config.json: text_config"). All three must
  // outlive this object.
  JsonObject(const nlohmann::json& object, std::string where, absl::Status* status)
      : object_(object), where_(std::move(where)), status_(status) {}

  bool Has(const char* key) const;
  // In [low, high].
  int Int(const char* key, int fallback, int low, int high) const;
  // Finite and in [low, high].
  double Number(const char* key, double fallback, double low, double high) const;
  bool Bool(const char* key, bool fallback) const;
  std::string String(const char* key, const std::string& fallback) const;
  // `count` finite numbers.
  std::vector<double> Numbers(const char* key, std::vector<double> fallback, size_t count) const;
  // The nested object, or an empty one.
  JsonObject Object(const char* key) const;
  // The elements of an array of objects; none when absent.
  std::vector<JsonObject> Objects(const char* key) const;

  const nlohmann::json& json() const { return object_; }
  const std::string& where() const { return where_; }
  void Fail(absl::string_view what) const;

 private:
  // Null when absent.
  const nlohmann::json* Find(const char* key) const;

  const nlohmann::json& object_;
  const std::string where_;
  absl::Status* const status_;
};

}  // namespace imagesearch::encoder

#endif  // IMAGESEARCH_ENCODER_CLIP_JSON_OBJECT_H_
