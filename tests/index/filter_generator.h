// Random metadata and filters over them, for tests that compare two ways to answer a filter.
#ifndef IMAGESEARCH_TESTS_INDEX_FILTER_GENERATOR_H_
#define IMAGESEARCH_TESTS_INDEX_FILTER_GENERATOR_H_

#include <cstdint>
#include <cstdlib>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "google/protobuf/struct.pb.h"

namespace imagesearch::index {

class FilterGenerator {
 public:
  explicit FilterGenerator(uint64_t seed) : random_(seed) {}

  int Below(int n) { return static_cast<int>(random_() % n); }
  template <typename T>
  const T& Pick(const std::vector<T>& from) {
    return from[Below(static_cast<int>(from.size()))];
  }

  std::string Id() { return absl::StrCat(Pick(words_), "/", Below(30)); }

  using Value = google::protobuf::Value;
  using Struct = google::protobuf::Struct;

  Value Scalar() {
    Value value;
    switch (Below(9)) {
      case 0:
        value.set_null_value({});
        break;
      case 1:
        value.set_bool_value(Below(2) == 0);
        break;
      case 2:
      case 3:
        value.set_number_value(Below(7) - 3);
        break;
      case 4:
        value.set_number_value(Pick(odd_numbers_));
        break;
      case 5:
        value.set_string_value(Pick(times_));
        break;
      case 6:
        break;  // no kind
      default:
        value.set_string_value(Pick(words_));
    }
    return value;
  }

  Value Any(int depth) {
    Value value;
    const int kind = Below(10);
    if (kind == 0) {
      for (int i = Below(4); i > 0; --i) {
        *value.mutable_list_value()->add_values() = depth > 0 ? Any(depth - 1) : Scalar();
      }
      value.mutable_list_value();
    } else if (kind == 1 && depth > 0) {
      *value.mutable_struct_value() = Record(depth - 1);
    } else if (kind == 2) {
      auto& fields = *value.mutable_struct_value()->mutable_fields();
      fields["lat"].set_number_value(Below(8) == 0 ? 90 : Below(190) - 95 + 0.125);
      fields["lng"].set_number_value(Below(8) == 0 ? 180 : Below(370) - 185 + 0.25);
      if (Below(4) == 0) fields["a"] = Scalar();
    } else {
      value = Scalar();
    }
    return value;
  }

  Struct Record(int depth = 2) {
    Struct record;
    for (int i = Below(5); i > 0; --i) (*record.mutable_fields())[Pick(names_)] = Any(depth);
    return record;
  }

  std::string Field() {
    std::vector<std::string> path;
    for (int i = Below(4) == 0 ? 2 : 1; i > 0; --i) {
      const std::string& name = Pick(names_);
      path.push_back(name == "a" || name == "tags" || name == "lat" ? name : "`" + name + "`");
    }
    return absl::StrJoin(path, ".");
  }

  std::string Quoted() {
    const std::string word = absl::StrCat(Pick(words_), "a").substr(0, Below(6) + 1);
    switch (Below(5)) {
      case 0:
        return absl::StrCat("\"", word.substr(0, 1), "*\"");
      case 1:
        return absl::StrCat("\"*", word.substr(1), "\"");
      case 2:
        return absl::StrCat("\"*", word.substr(1, 1), "*\"");
      default:
        return absl::StrCat("\"", word, "\"");
    }
  }

  std::string Literal(bool ordered) {
    switch (Below(ordered ? 4 : 6)) {
      case 0:
        return Quoted();
      case 1:
        return absl::StrCat(Below(7) - 3);
      case 2:
        return Pick(std::vector<std::string>{"0.5", "-2.25", "1e300", "3"});
      case 3:
        return Pick(moments_);
      case 4:
        return Pick(std::vector<std::string>{"true", "false"});
      default:
        return "null";
    }
  }

  std::string Leaf() {
    const std::string field = Field();
    switch (Below(11)) {
      case 0:
        return absl::StrCat("has(", field, ")");
      case 1:
        return absl::StrCat("starts_with(", field, ", \"", Pick(words_).substr(0, 2), "\")");
      case 2:
        return absl::StrCat(field, " in (", Literal(false), ", ", Literal(false), ", ",
                            Literal(false), ")");
      case 3:
      case 4:
        return absl::StrCat(field, ":", Literal(false));
      case 5:
        return absl::StrCat("geo_within(", field, ", ", Below(180) - 90, ", ", Below(360) - 180,
                            ", ", Pick(std::vector<int>{0, 100000, 3000000, 11000000, 30000000}),
                            ")");
      case 6: {
        const int south = Below(180) - 90;
        return absl::StrCat("geo_box(", field, ", ", south, ", ", Below(361) - 180, ", ",
                            south + Below(91 - south), ", ", Below(361) - 180, ")");
      }
      case 7:
        return absl::StrCat("id ", Pick(std::vector<std::string>{"=", "!=", "<", ">=", ">", "<="}),
                            " ", Below(2) ? Quoted() : absl::StrCat("\"", Id(), "\""));
      case 8:
        return absl::StrCat(field, Pick(std::vector<std::string>{"<", "<=", ">", ">="}),
                            Literal(true));
      default:
        return absl::StrCat(field, Pick(std::vector<std::string>{"=", "!="}), Literal(false));
    }
  }

  std::string Expression(int depth) {
    if (depth == 0 || Below(3) == 0) return Leaf();
    switch (Below(4)) {
      case 0:
        return absl::StrCat("NOT (", Expression(depth - 1), ")");
      case 1:
        return absl::StrCat("(", Expression(depth - 1), " AND ", Expression(depth - 1), ")");
      case 2:
        return absl::StrCat("(", Expression(depth - 1), " OR ", Expression(depth - 1), ")");
      default:
        return absl::StrCat(Leaf(), " AND ", Leaf(), " OR -", Leaf(), " AND (",
                            Expression(depth - 1), ")");
    }
  }

 private:
  std::mt19937_64 random_;
  const std::vector<std::string> names_ = {"a", "tags", "lat", "a.b", "1:a", ""};
  const std::vector<std::string> words_ = {"cat", "cats", "dog", "", "c", "Zebra", "été", "ab ab"};
  const std::vector<double> odd_numbers_ = {0.5,
                                            -0.0,
                                            -2.25,
                                            1e300,
                                            std::numeric_limits<double>::infinity(),
                                            -std::numeric_limits<double>::infinity(),
                                            std::numeric_limits<double>::quiet_NaN()};
  const std::vector<std::string> times_ = {"2024-05-01", "2024-05-01T02:00:00+02:00",
                                           "2024-05-01T00:00:01Z", "1960-01-01T00:00:00Z",
                                           "2024-13-01"};
  const std::vector<std::string> moments_ = {"2024-05-01", "2024-05-01T00:00:01Z",
                                             "1970-01-01T00:00:00.25Z"};
};

// Of IMAGESEARCH_TEST_SEED, or a new one.
inline uint64_t GeneratorSeed() {
  const char* text = std::getenv("IMAGESEARCH_TEST_SEED");
  return text != nullptr ? std::strtoull(text, nullptr, 10) : std::random_device()();
}

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_TESTS_INDEX_FILTER_GENERATOR_H_
