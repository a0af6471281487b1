// What Milvus keeps about a collection beside its rows: names, our options, the index behind it.
#ifndef IMAGESEARCH_INDEX_MILVUS_CATALOG_H_
#define IMAGESEARCH_INDEX_MILVUS_CATALOG_H_

#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "index/collection.h"
#include "index/milvus/session.h"

namespace imagesearch::index {

// Our facts are kept as JSON, in the description and in this property of a collection: some servers
// forget the one, some the other.
inline constexpr char kFactsProperty[] = "imagesearch";

// PREFIX_NAME, with every '-' (which Milvus' names can't have) as D: our names have no capitals.
std::string MilvusName(absl::string_view prefix, absl::string_view name);
// The reverse; nullopt where it is no collection of this prefix.
std::optional<std::string> OurName(absl::string_view prefix, absl::string_view milvus_name);
// The collection without images that holds the instance id. No name of ours makes it.
std::string InstanceCollection(absl::string_view prefix);

// Our facts of a described collection; "" where there are none.
std::string FactsOf(const pb::DescribeCollectionResponse& description);

// `nonce` is random: two collections of one name in a row differ in it.
std::string FactsJson(const CollectionOptions& options, const std::string& nonce);
// nullopt: not what FactsJson makes.
std::optional<CollectionOptions> OptionsOfFacts(const std::string& name, const std::string& facts,
                                                std::string* nonce);

// UNIMPLEMENTED NOT_ON_MILVUS for options that Milvus has nothing for.
absl::Status CheckOptions(const CollectionOptions& options);
// kAuto is HNSW.
IndexKind KindOnMilvus(IndexKind kind);
// For CreateIndex: index_type, metric_type, params.
void FillIndexParams(const IndexOptions& options,
                     google::protobuf::RepeatedPtrField<pb::KeyValuePair>* params);
// The JSON of a search's `params` for the `k` nearest.
std::string SearchParams(const IndexOptions& options, int k);

void AddPair(const std::string& key, const std::string& value,
             google::protobuf::RepeatedPtrField<pb::KeyValuePair>* pairs);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_MILVUS_CATALOG_H_
