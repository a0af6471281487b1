// Searching: one call to Milvus for queries that are alike but for their vectors.
#include <algorithm>
#include <limits>
#include <numeric>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/milvus/catalog.h"
#include "index/milvus/collection_calls.h"
#include "index/milvus/milvus_collection.h"
#include "index/store/unit_vector.h"

namespace imagesearch::index {

struct MilvusCollection::PreparedQuery {
  const Query* query = nullptr;
  std::vector<float> vector;
  std::string expression;

  bool AlikeTo(const PreparedQuery& other) const {
    const Query& a = *query;
    const Query& b = *other.query;
    return expression == other.expression && a.limit == b.limit && a.offset == b.offset &&
           a.exact == b.exact && a.with_metadata == b.with_metadata &&
           a.with_vector == b.with_vector;
  }
};

namespace {

// Milvus' bound on limit + offset.
constexpr int kMaxTop = 16'384;
// Equal scores that an exact search reads beyond its end to tell which come first by id.
constexpr int kMaxTies = 4096;
// Queries of one call.
constexpr size_t kMaxTogether = 64;

// Values of little-endian float32, as a placeholder wants them. The processors that this is built
// for are such.
std::string Bytes(const std::vector<float>& vector) {
  return std::string(reinterpret_cast<const char*>(vector.data()), vector.size() * sizeof(float));
}

absl::Status BadReply(absl::string_view what) {
  return Error(absl::StatusCode::kInternal, "MILVUS_ERROR",
               absl::StrCat("Milvus' search reply does not fit together: ", what));
}

const pb::FieldData* Find(const pb::SearchResultData& data, absl::string_view name) {
  for (const pb::FieldData& column : data.fields_data()) {
    if (column.field_name() == name) return &column;
  }
  return nullptr;
}

}  // namespace

absl::StatusOr<MilvusCollection::PreparedQuery> MilvusCollection::PrepareQuery(
    const Query& query) const {
  if (query.limit < 1 || query.offset < 0) {
    return InvalidArgument("BAD_LIMIT", absl::StrCat("limit is ", query.limit, " and offset ",
                                                     query.offset, "; they start at 1 and at 0"));
  }
  if (int64_t{query.limit} + query.offset >= kMaxTop) {
    return InvalidArgument("BAD_LIMIT", absl::StrCat("limit and offset together are ",
                                                     int64_t{query.limit} + query.offset,
                                                     "; Milvus takes less than ", kMaxTop));
  }
  if (query.exact && options_.index.kind != IndexKind::kFlat) {
    return NotOnMilvus(
        absl::StrCat("exact: Milvus scans only collections of kind FLAT, '", options_.name,
                     "' is not one; a higher hnsw_ef_search or ivf_nprobe comes close"));
  }
  if (query.with_identity) {
    return NotOnMilvus("hits are not told apart as duplicates over Milvus");
  }
  PreparedQuery prepared;
  prepared.query = &query;
  prepared.vector = query.vector;
  absl::Status status = MakeUnitVector(options_.dimension, &prepared.vector);
  if (!status.ok()) return status;
  auto expression = LiveExpression(query.filter);
  if (!expression.ok()) return expression.status();
  prepared.expression = *std::move(expression);
  return prepared;
}

absl::StatusOr<SearchResult> MilvusCollection::Search(const Query& query) {
  return std::move(SearchBatch({&query, 1})[0]);
}

std::vector<absl::StatusOr<SearchResult>> MilvusCollection::SearchBatch(
    absl::Span<const Query> queries) {
  std::vector<absl::StatusOr<SearchResult>> results(queries.size(), absl::UnknownError(""));
  absl::Status status = CheckAlive();
  if (!status.ok()) {
    std::fill(results.begin(), results.end(), status);
    return results;
  }
  std::vector<PreparedQuery> prepared(queries.size());
  std::vector<std::vector<size_t>> groups;  // of places in `queries`
  for (size_t i = 0; i < queries.size(); ++i) {
    auto query = PrepareQuery(queries[i]);
    if (!query.ok()) {
      results[i] = query.status();
      continue;
    }
    prepared[i] = *std::move(query);
    // The time of day in the expression is that of the first.
    if (i > 0 && queries[i].filter == queries[i - 1].filter && prepared[i - 1].query != nullptr) {
      prepared[i].expression = prepared[i - 1].expression;
    }
    auto group =
        std::find_if(groups.begin(), groups.end(), [&](const std::vector<size_t>& members) {
          return members.size() < kMaxTogether && prepared[members[0]].AlikeTo(prepared[i]);
        });
    if (group == groups.end()) group = groups.insert(groups.end(), std::vector<size_t>());
    group->push_back(i);
  }
  for (const std::vector<size_t>& members : groups) {
    std::vector<const PreparedQuery*> alike;
    for (size_t i : members) alike.push_back(&prepared[i]);
    auto answers = SearchAlike(alike);
    for (size_t k = 0; k < members.size(); ++k) results[members[k]] = std::move(answers[k]);
  }
  return results;
}

absl::Status MilvusCollection::SearchTop(absl::Span<const PreparedQuery* const> queries, int top,
                                         int skip, pb::SearchResults* response) const {
  const Query& query = *queries[0]->query;
  pb::SearchRequest request;
  request.set_db_name(session_->options().database);
  request.set_collection_name(name_);
  request.set_dsl(queries[0]->expression);
  request.set_dsl_type(1);
  pb::PlaceholderGroup group;
  pb::PlaceholderValue* placeholder = group.add_placeholders();
  placeholder->set_tag("$0");
  placeholder->set_type(pb::PLACEHOLDER_FLOAT_VECTOR);
  for (const PreparedQuery* prepared : queries) placeholder->add_values(Bytes(prepared->vector));
  request.set_placeholder_group(group.SerializeAsString());
  request.set_nq(static_cast<int64_t>(queries.size()));
  if (query.with_metadata) {
    for (std::string& column : RecordColumns(query.with_vector)) {
      request.add_output_fields(std::move(column));
    }
  } else if (query.with_vector) {
    request.add_output_fields(kVectorColumn);
  }
  auto* params = request.mutable_search_params();
  AddPair("anns_field", kVectorColumn, params);
  AddPair("topk", absl::StrCat(top), params);
  AddPair("offset", absl::StrCat(skip), params);
  AddPair("metric_type", "IP", params);
  AddPair("params", SearchParams(options_.index, top + skip), params);
  AddPair("round_decimal", "-1", params);
  request.set_guarantee_timestamp(session_->version());
  request.set_consistency_level(pb::SESSION);
  absl::Status status = Call("searching", &Session::Stub::Search, request, response);
  if (absl::IsOutOfRange(status)) {
    return InvalidArgument("REPLY_TOO_LARGE",
                           "Milvus' reply would exceed its limit: ask for fewer hits, or without "
                           "vectors and metadata");
  }
  return status;
}

std::vector<absl::StatusOr<SearchResult>> MilvusCollection::SearchAlike(
    absl::Span<const PreparedQuery* const> queries) const {
  const Query& query = *queries[0]->query;
  const uint64_t version = session_->version();
  auto all = [&queries](const absl::Status& status) {
    return std::vector<absl::StatusOr<SearchResult>>(queries.size(), status);
  };
  // Which of equal scores come first is Milvus' choice; an exact search reads on until they have
  // all come.
  const int end = query.offset + query.limit;
  int top = query.exact ? end + 1 : query.limit;
  pb::SearchResults response;
  while (true) {
    response.Clear();
    absl::Status status = SearchTop(queries, top, query.exact ? 0 : query.offset, &response);
    if (!status.ok()) return all(status);
    if (!query.exact || top >= kMaxTop || top >= end + kMaxTies) break;
    bool cut = false;
    int64_t at = 0;
    for (const int64_t hits : response.results().topks()) {
      const auto& scores = response.results().scores();
      if (at + hits > scores.size()) return all(BadReply("fewer scores than hits"));
      cut |= hits == top && scores[at + end - 1] == scores[at + hits - 1];
      at += hits;
    }
    if (!cut) break;
    top = std::min({kMaxTop, end + kMaxTies, 4 * top + 64});
  }

  const pb::SearchResultData& data = response.results();
  const auto& ids = data.ids().str_id().data();
  const int64_t total = std::accumulate(data.topks().begin(), data.topks().end(), int64_t{0});
  // No hits at all: some servers leave everything out.
  const bool empty = total == 0;
  if (!empty && (data.topks_size() != static_cast<int>(queries.size()) || ids.size() != total ||
                 data.scores_size() != total)) {
    return all(BadReply("hits, ids and scores differ in number"));
  }
  std::vector<Record> records;
  const pb::FieldData* vectors = nullptr;
  if (!empty && query.with_metadata) {
    auto read = ToRecords(data.fields_data(), options_.dimension, query.with_vector);
    if (!read.ok()) return all(read.status());
    records = *std::move(read);
    if (static_cast<int64_t>(records.size()) != total) return all(BadReply("fewer rows than hits"));
  } else if (!empty && query.with_vector) {
    vectors = Find(data, kVectorColumn);
    if (vectors == nullptr ||
        vectors->vectors().float_vector().data_size() != total * options_.dimension) {
      return all(BadReply("fewer vectors than hits"));
    }
  }
  std::vector<absl::StatusOr<SearchResult>> results;
  int64_t begin = 0;
  for (size_t q = 0; q < queries.size(); ++q) {
    const int64_t hits = empty ? 0 : data.topks(static_cast<int>(q));
    std::vector<int> order(hits);
    std::iota(order.begin(), order.end(), static_cast<int>(begin));
    std::sort(order.begin(), order.end(), [&](int a, int b) {
      return data.scores(a) != data.scores(b) ? data.scores(a) > data.scores(b) : ids[a] < ids[b];
    });
    begin += hits;
    SearchResult result;
    result.version = version;
    const std::optional<float> min_score = queries[q]->query->min_score;
    for (size_t i = query.exact ? query.offset : 0;
         i < order.size() && result.hits.size() < static_cast<size_t>(query.limit); ++i) {
      const int row = order[i];
      if (min_score && data.scores(row) < *min_score) break;
      Hit hit;
      hit.id = ids[row];
      hit.score = data.scores(row);
      if (query.with_metadata) {
        hit.metadata = std::move(records[row].metadata);
        if (query.with_vector) hit.vector = std::move(records[row].vector);
      } else if (vectors != nullptr) {
        const float* values =
            vectors->vectors().float_vector().data().data() + int64_t{row} * options_.dimension;
        hit.vector.assign(values, values + options_.dimension);
      }
      result.hits.push_back(std::move(hit));
    }
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace imagesearch::index
