// The self-test's inputs and what they are compared with.
#include "encoder/clip/self_test.h"

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "encoder/clip/json_object.h"
#include "encoder/clip/open_plain.h"

namespace imagesearch::encoder {
namespace {

struct Case {
  std::string name;
  Prepared input;
  std::vector<float> expected;
};

// Test picture `index`: channel c at column x, row y is (x (3 + 4c) + y (5 - 2c) + floor(x y index
// / 64) + 40 c) mod 256. The rule is golden.json's.
Prepared Picture(int index, int side) {
  Prepared prepared;
  prepared.kind = Input::Kind::kImage;
  prepared.pixels.reserve(size_t{3} * side * side);
  for (int y = 0; y < side; ++y) {
    for (int x = 0; x < side; ++x) {
      for (int c = 0; c < 3; ++c) {
        const int value = x * (3 + 4 * c) + y * (5 - 2 * c) + x * y * index / 64 + 40 * c;
        prepared.pixels.push_back(static_cast<uint8_t>(value & 255));
      }
    }
  }
  return prepared;
}

// Least cosine between the same vector in this precision and in fp32.
double Tolerance(const std::string& precision) {
  if (precision == "fp32") return 0.9999;
  if (precision == "int8") return 0.99;
  return 0.998;
}

double Cosine(const std::vector<float>& a, const std::vector<float>& b) {
  if (a.size() != b.size()) return NAN;
  double dot = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    dot += double{a[i]} * b[i];
    aa += double{a[i]} * a[i];
    bb += double{b[i]} * b[i];
  }
  return dot / std::sqrt(aa * bb);
}

// The cases of golden.json. A text that Prepare refuses (the empty one) is left out.
absl::StatusOr<std::vector<Case>> GoldenCases(const Encoder& encoder, const std::string& path) {
  absl::StatusOr<nlohmann::json> golden = ReadJsonFile(path);
  if (!golden.ok()) return golden.status();
  absl::Status status;
  const JsonObject root(*golden, path, &status);
  const size_t dimension = encoder.model().dimension;
  std::vector<Case> cases;
  const auto add = [&](const JsonObject& object, std::string name, Prepared input) {
    if (!object.Has("vector")) object.Fail("vector is missing");
    const std::vector<double> vector =
        object.Numbers("vector", std::vector<double>(dimension), dimension);
    cases.push_back({std::move(name), std::move(input), {vector.begin(), vector.end()}});
  };
  for (const JsonObject& object : root.Objects("texts")) {
    const std::string text = object.String("text", "");
    if (text.empty()) continue;
    absl::StatusOr<Prepared> prepared = encoder.Prepare(Input::Text(text));
    if (!prepared.ok()) return prepared.status();
    add(object, absl::StrCat("text \"", text, "\""), *std::move(prepared));
  }
  for (const JsonObject& object : root.Objects("images")) {
    const int index = object.Int("index", 0, 0, 1000);
    add(object, absl::StrCat("picture ", index), Picture(index, encoder.model().image_size));
  }
  if (status.ok() && cases.empty()) root.Fail("holds no cases");
  if (!status.ok()) return status;
  return cases;
}

// Built-in inputs, expected to come out as the plain fp32 path gives them.
absl::StatusOr<std::vector<Case>> PlainCases(const Encoder& encoder, const ClipOptions& options) {
  absl::StatusOr<std::unique_ptr<Encoder>> reference = OpenPlainClip(options);
  if (!reference.ok()) return reference.status();
  std::vector<Case> cases;
  for (const int index : {0, 1})
    cases.push_back(
        {absl::StrCat("picture ", index), Picture(index, encoder.model().image_size), {}});
  for (const char* text : {"cat", "a photo of a red bicycle leaning on a wall"}) {
    absl::StatusOr<Prepared> prepared = encoder.Prepare(Input::Text(text));
    if (!prepared.ok()) return prepared.status();
    cases.push_back({absl::StrCat("text \"", text, "\""), *std::move(prepared), {}});
  }
  for (Case& one : cases) {
    const std::vector<absl::StatusOr<Embedding>> embedded = (*reference)->Embed({&one.input});
    if (!embedded[0].ok()) return embedded[0].status();
    one.expected = embedded[0]->values;
  }
  return cases;
}

}  // namespace

absl::Status SelfTest(Encoder& encoder, const ClipOptions& options) {
  const std::string golden = options.model_dir + "/golden.json";
  std::error_code ignored;
  absl::StatusOr<std::vector<Case>> cases = std::filesystem::exists(golden, ignored)
                                                ? GoldenCases(encoder, golden)
                                                : PlainCases(encoder, options);
  if (!cases.ok()) return cases.status();
  std::vector<const Prepared*> inputs;
  for (const Case& one : *cases) inputs.push_back(&one.input);
  const std::vector<absl::StatusOr<Embedding>> results = encoder.Embed(inputs);
  const double tolerance = Tolerance(encoder.model().precision);
  for (size_t i = 0; i < results.size(); ++i) {
    if (!results[i].ok()) return results[i].status();
    const double cosine = Cosine(results[i]->values, (*cases)[i].expected);
    if (!(cosine >= tolerance)) {
      return Error(absl::StatusCode::kInternal, "SELF_TEST_FAILED",
                   absl::StrCat(options.model_dir, ": ", (*cases)[i].name, " in ",
                                encoder.model().precision, " has cosine ", cosine,
                                " with the expected vector, at least ", tolerance, " is needed"));
    }
  }
  return absl::OkStatus();
}

}  // namespace imagesearch::encoder
