// Any bytes as filter text: parsing answers OK or BAD_FILTER, and what parses gives the same answer
// from Filter::Matches and from the field index. Built and run by tests/fuzz/run.sh.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/error.h"
#include "google/protobuf/util/json_util.h"
#include "index/filter/field_index.h"
#include "index/filter/filter.h"

namespace {

using google::protobuf::Struct;

struct Corpus {
  std::vector<std::string> ids;
  std::vector<Struct> records;
  imagesearch::index::FieldIndex index;

  Corpus() {
    for (const char* json : {
             R"({"a": 1, "b": "x", "tags": ["cat", 2, null, true], "t": "2024-05-01T00:00:00Z"})",
             R"({"a": "1", "b": {"a": -3, "lat": 1}, "tags": "cat", "t": "2024-05-01"})",
             R"({"a": true, "p": {"lat": 48.5, "lng": 2.25}, "tags": {"cat": {"a": 1}}})",
             R"({"a": null, "p": {"lat": -90, "lng": 180}, "t": 5})",
             "{}",
         }) {
      Struct record;
      if (!google::protobuf::util::JsonStringToMessage(json, &record).ok()) std::abort();
      const uint32_t slot = static_cast<uint32_t>(records.size());
      ids.push_back(slot % 2 == 0 ? "a/" + std::to_string(slot) : "b");
      index.Add(slot, ids.back(), record);
      records.push_back(record);
    }
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Corpus* corpus = new Corpus();
  const absl::string_view text(reinterpret_cast<const char*>(data), size);
  const auto filter = imagesearch::index::Filter::Parse(text, imagesearch::Limits());
  if (!filter.ok()) {
    if (imagesearch::ReasonOf(filter.status()) != "BAD_FILTER") std::abort();
    return 0;
  }
  const auto slots = corpus->index.Evaluate(*filter);
  for (uint32_t slot = 0; slot < corpus->records.size(); ++slot) {
    if (slots.contains(slot) != filter->Matches(corpus->ids[slot], corpus->records[slot])) {
      std::abort();
    }
  }
  return 0;
}
