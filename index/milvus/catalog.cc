// Names, facts and index parameters.
#include "index/milvus/catalog.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/strip.h"
#include "nlohmann/json.hpp"

namespace imagesearch::index {
namespace {

using Json = nlohmann::json;

// Where the options say 0.
constexpr int kHnswM = 24;
constexpr int kHnswEfConstruction = 200;
constexpr int kHnswEf = 128;
constexpr int kIvfLists = 1024;
constexpr int kIvfProbes = 64;
constexpr int kMaxEf = 32'768;  // Milvus' bound

int Or(int value, int standard) { return value > 0 ? value : standard; }

}  // namespace

std::string MilvusName(absl::string_view prefix, absl::string_view name) {
  return absl::StrCat(prefix, "_", absl::StrReplaceAll(name, {{"-", "D"}}));
}

std::optional<std::string> OurName(absl::string_view prefix, absl::string_view milvus_name) {
  if (!absl::ConsumePrefix(&milvus_name, prefix) || !absl::ConsumePrefix(&milvus_name, "_") ||
      milvus_name.empty() || milvus_name[0] == '_') {
    return std::nullopt;
  }
  return absl::StrReplaceAll(milvus_name, {{"D", "-"}});
}

std::string InstanceCollection(absl::string_view prefix) {
  return absl::StrCat(prefix, "__instance");
}

std::string FactsOf(const pb::DescribeCollectionResponse& description) {
  for (const pb::KeyValuePair& pair : description.properties()) {
    if (pair.key() == kFactsProperty) return pair.value();
  }
  return description.schema().description();
}

std::string FactsJson(const CollectionOptions& options, const std::string& nonce) {
  const IndexOptions& index = options.index;
  return Json({{"nonce", nonce},
               {"dimension", options.dimension},
               {"model_id", options.model_id},
               {"model_fingerprint", options.model_fingerprint},
               {"kind", static_cast<int>(index.kind)},
               {"hnsw_m", index.hnsw_m},
               {"hnsw_ef_construction", index.hnsw_ef_construction},
               {"hnsw_ef_search", index.hnsw_ef_search},
               {"ivf_nlist", index.ivf_nlist},
               {"ivf_nprobe", index.ivf_nprobe}})
      .dump(-1, ' ', true, Json::error_handler_t::replace);
}

std::optional<CollectionOptions> OptionsOfFacts(const std::string& name, const std::string& facts,
                                                std::string* nonce) {
  const Json json = Json::parse(facts, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  auto number = [&json](const char* key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_number_integer() ? found->get<int>() : 0;
  };
  auto text = [&json](const char* key) {
    const auto found = json.find(key);
    return found != json.end() && found->is_string() ? found->get<std::string>() : "";
  };
  CollectionOptions options;
  options.name = name;
  options.dimension = number("dimension");
  options.model_id = text("model_id");
  options.model_fingerprint = text("model_fingerprint");
  const int kind = number("kind");
  options.index.hnsw_m = number("hnsw_m");
  options.index.hnsw_ef_construction = number("hnsw_ef_construction");
  options.index.hnsw_ef_search = number("hnsw_ef_search");
  options.index.ivf_nlist = number("ivf_nlist");
  options.index.ivf_nprobe = number("ivf_nprobe");
  *nonce = text("nonce");
  if (options.dimension < 1 || nonce->empty() || kind < 0 ||
      kind > static_cast<int>(IndexKind::kIvf)) {
    return std::nullopt;
  }
  options.index.kind = static_cast<IndexKind>(kind);
  return options;
}

absl::Status CheckOptions(const CollectionOptions& options) {
  if (options.quota.max_images > 0 || options.quota.max_bytes > 0) {
    return NotOnMilvus(
        "quota: on Milvus a collection has none; Milvus' own limits hold for all of it");
  }
  if (options.keep_originals) {
    return NotOnMilvus("keep_originals: uploads are not kept in Milvus");
  }
  if (options.index.target_recall > 0) {
    return NotOnMilvus(
        "target_recall: Milvus does not tune its searches to a recall; give hnsw_ef_search or "
        "ivf_nprobe");
  }
  if (options.index.pq_bytes > 0) {
    return NotOnMilvus(
        "pq_bytes: Milvus answers with the scores of its product-quantised codes, not of the "
        "vectors");
  }
  if (options.index.memory_bytes > 0) {
    return NotOnMilvus("memory_bytes: Milvus' own settings bound its memory");
  }
  return absl::OkStatus();
}

IndexKind KindOnMilvus(IndexKind kind) {
  return kind == IndexKind::kAuto ? IndexKind::kHnsw : kind;
}

void FillIndexParams(const IndexOptions& options,
                     google::protobuf::RepeatedPtrField<pb::KeyValuePair>* params) {
  Json json = Json::object();
  const char* type = "FLAT";
  if (KindOnMilvus(options.kind) == IndexKind::kHnsw) {
    type = "HNSW";
    json = {{"M", Or(options.hnsw_m, kHnswM)},
            {"efConstruction", Or(options.hnsw_ef_construction, kHnswEfConstruction)}};
  } else if (options.kind == IndexKind::kIvf) {
    type = "IVF_FLAT";
    json = {{"nlist", Or(options.ivf_nlist, kIvfLists)}};
  }
  AddPair("index_type", type, params);
  AddPair("metric_type", "IP", params);
  AddPair("params", json.dump(), params);
}

std::string SearchParams(const IndexOptions& options, int k) {
  if (KindOnMilvus(options.kind) == IndexKind::kHnsw) {
    return Json({{"ef", std::min(std::max(k, Or(options.hnsw_ef_search, kHnswEf)), kMaxEf)}})
        .dump();
  }
  if (options.kind == IndexKind::kIvf) {
    const int lists = Or(options.ivf_nlist, kIvfLists);
    return Json({{"nprobe", std::min(Or(options.ivf_nprobe, kIvfProbes), lists)}}).dump();
  }
  return "{}";
}

void AddPair(const std::string& key, const std::string& value,
             google::protobuf::RepeatedPtrField<pb::KeyValuePair>* pairs) {
  pb::KeyValuePair* pair = pairs->Add();
  pair->set_key(key);
  pair->set_value(value);
}

}  // namespace imagesearch::index
