// Reading but for search: rows by id, by filter, in order; and the collection as a whole.
#include "index/milvus/milvus_collection.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/call_deadline.h"
#include "base/error.h"
#include "base/steady_time.h"
#include "index/milvus/catalog.h"
#include "index/milvus/collection_calls.h"
#include "index/milvus/expression.h"
#include "index/store/crc32c.h"
#include "index/store/page_token.h"

namespace imagesearch::index {
namespace {

// What replies are planned for: half of what Milvus gives at most.
constexpr uint64_t kReplyBytes = 32u << 20;
constexpr uint64_t kUsualMetadataBytes = 4096;
constexpr absl::Duration kPoll = absl::Milliseconds(50);
constexpr absl::Duration kLoadAgain = absl::Seconds(5);
// Info has no deadline of a caller, and metrics are asked for often.
constexpr absl::Duration kInfoTimeout = absl::Seconds(2);

// As the embedded database counts a record.
uint64_t RecordBytes(const Record& record) {
  return record.id.size() + record.vector.size() * sizeof(float) + record.metadata.ByteSizeLong() +
         record.content_hash.size() + 48;
}

pb::CollectionRequest Named(const std::string& database, const std::string& name) {
  pb::CollectionRequest request;
  request.set_db_name(database);
  request.set_collection_name(name);
  return request;
}

}  // namespace

MilvusCollection::MilvusCollection(std::shared_ptr<Session> session, CollectionOptions options,
                                   std::string nonce)
    : session_(std::move(session)),
      options_(std::move(options)),
      name_(MilvusName(session_->options().prefix, options_.name)),
      nonce_(std::move(nonce)),
      token_id_(Crc32c(nonce_.data(), nonce_.size())) {}

absl::Status MilvusCollection::CheckAlive() const {
  if (!retired_.load()) return absl::OkStatus();
  return Error(absl::StatusCode::kNotFound, "NO_SUCH_COLLECTION",
               absl::StrCat("collection '", options_.name, "' was deleted"));
}

absl::Status MilvusCollection::Explain(absl::Status status) const {
  const std::string reason = ReasonOf(status);
  if (reason == "NO_SUCH_COLLECTION") {
    return Error(absl::StatusCode::kNotFound, reason,
                 absl::StrCat("no collection '", options_.name, "' in Milvus"));
  }
  if (reason != "MILVUS_LOADING") return status;
  {
    MutexLock lock(&load_mutex_);
    if (SteadyNow() - last_load_ < kLoadAgain) return status;
    last_load_ = SteadyNow();
  }
  pb::CollectionRequest request = Named(session_->options().database, name_);
  request.set_replica_number(1);
  pb::Status started;
  session_->Call("loading a collection", &Session::Stub::LoadCollection, request, &started)
      .IgnoreError();  // the next call sees whether it helped
  return status;
}

CollectionInfo MilvusCollection::Info() const {
  CollectionInfo info;
  info.options = options_;
  info.serving_kind = KindOnMilvus(options_.index.kind);
  info.version = session_->version();
  const CallDeadline deadline(SteadyNow() + kInfoTimeout);
  auto expression = LiveExpression("");
  auto count = CountRows(*session_, name_, *expression);
  if (count.ok()) last_count_.store(*count);
  info.image_count = last_count_.load();
  return info;
}

absl::StatusOr<std::string> MilvusCollection::LiveExpression(const std::string& text) const {
  auto filter = Filter::Parse(text, session_->options().limits);
  if (!filter.ok()) return filter.status();
  auto expression = Translate(*filter);
  if (!expression.ok()) return expression.status();
  return And(absl::StrCat("expires > ", session_->NowMicros()), *expression);
}

int MilvusCollection::RowsOfAReply(bool with_vector) const {
  const uint64_t row = kUsualMetadataBytes + (with_vector ? options_.dimension * sizeof(float) : 0);
  return static_cast<int>(std::max<uint64_t>(kReplyBytes / row, 16));
}

absl::StatusOr<std::vector<Record>> MilvusCollection::ReadRows(const std::string& expression,
                                                               int limit, bool with_vector) const {
  pb::QueryRequest request;
  request.set_db_name(session_->options().database);
  request.set_collection_name(name_);
  request.set_expr(expression);
  for (std::string& column : RecordColumns(with_vector))
    request.add_output_fields(std::move(column));
  request.set_guarantee_timestamp(session_->version());
  request.set_consistency_level(pb::SESSION);
  if (limit > 0) {
    AddPair("limit", absl::StrCat(limit), request.mutable_query_params());
    // Some servers give the smallest keys only to iterators.
    AddPair("iterator", "True", request.mutable_query_params());
    AddPair("reduce_stop_for_best", "False", request.mutable_query_params());
  }
  pb::QueryResults response;
  absl::Status status = Call("reading images", &Session::Stub::Query, request, &response);
  if (!status.ok()) return status;
  auto records = ToRecords(response.fields_data(), options_.dimension, with_vector);
  if (!records.ok()) return records.status();
  std::sort(records->begin(), records->end(),
            [](const Record& a, const Record& b) { return a.id < b.id; });
  return records;
}

absl::StatusOr<std::vector<Record>> MilvusCollection::ReadIds(absl::Span<const std::string> ids,
                                                              bool with_vector) const {
  std::vector<Record> all;
  size_t step = RowsOfAReply(with_vector);
  for (size_t begin = 0; begin < ids.size();) {
    const auto some = ids.subspan(begin, step);
    auto records = ReadRows(IdIn(some), 0, with_vector);
    if (absl::IsOutOfRange(records.status()) && step > 1) {
      step = std::max<size_t>(step / 4, 1);
      continue;
    }
    if (!records.ok()) return records.status();
    std::move(records->begin(), records->end(), std::back_inserter(all));
    begin += some.size();
  }
  return all;
}

absl::StatusOr<std::vector<std::optional<Record>>> MilvusCollection::Get(
    absl::Span<const std::string> ids, bool with_vector) {
  absl::Status status = CheckAlive();
  if (!status.ok()) return status;
  std::vector<std::optional<Record>> found(ids.size());
  absl::flat_hash_map<std::string, std::vector<size_t>> places;
  for (size_t i = 0; i < ids.size(); ++i) places[ids[i]].push_back(i);
  std::vector<std::string> different;
  for (const auto& [id, unused] : places) different.push_back(id);
  auto records = ReadIds(different, with_vector);
  if (!records.ok()) return records.status();
  const absl::Time now = absl::FromUnixMicros(session_->NowMicros());
  for (Record& record : *records) {
    if (record.expire_time <= now) continue;
    const std::vector<size_t>& at = places[record.id];
    for (size_t i = 1; i < at.size(); ++i) found[at[i]] = record;
    if (!at.empty()) found[at[0]] = std::move(record);
  }
  return found;
}

absl::StatusOr<CountResult> MilvusCollection::Count(const std::string& filter) {
  absl::Status status = CheckAlive();
  if (!status.ok()) return status;
  auto expression = LiveExpression(filter);
  if (!expression.ok()) return expression.status();
  CountResult result;
  result.version = session_->version();
  auto count = CountRows(*session_, name_, *expression);
  if (!count.ok()) return Explain(count.status());
  result.count = *count;
  return result;
}

absl::StatusOr<ListPage> MilvusCollection::List(const ListOptions& list) {
  absl::Status status = CheckAlive();
  if (!status.ok()) return status;
  if (list.page_size < 1) {
    return InvalidArgument("BAD_PAGE_SIZE",
                           absl::StrCat("page_size is ", list.page_size, "; it starts at 1"));
  }
  auto live = LiveExpression(list.filter);
  if (!live.ok()) return live.status();
  std::string last_id;
  if (!list.page_token.empty()) {
    auto decoded = DecodePageToken(list.page_token, token_id_, list.filter);
    if (!decoded.ok()) return decoded.status();
    last_id = *std::move(decoded);
  }
  ListPage page;
  page.version = session_->version();
  uint64_t bytes = 0;
  int step = RowsOfAReply(list.with_vector);
  if (list.max_bytes > 0) {
    const uint64_t row = 50 + (list.with_vector ? options_.dimension * sizeof(float) : 0);
    step = std::min<uint64_t>(step, list.max_bytes / row + 2);
  }
  while (true) {
    // One more than the page takes shows whether it is the last.
    const int wanted =
        std::min<int>(step, list.page_size + 1 - static_cast<int>(page.records.size()));
    auto rows =
        ReadRows(And(absl::StrCat("id > ", Quoted(last_id)), *live), wanted, list.with_vector);
    if (absl::IsOutOfRange(rows.status()) && step > 1) {
      step = std::max(step / 4, 1);
      continue;
    }
    if (!rows.ok()) return rows.status();
    for (Record& record : *rows) {
      bytes += RecordBytes(record);
      if (page.records.size() == static_cast<size_t>(list.page_size) ||
          (list.max_bytes > 0 && bytes > list.max_bytes && !page.records.empty())) {
        page.next_page_token = EncodePageToken(token_id_, list.filter, page.records.back().id);
        return page;
      }
      page.records.push_back(std::move(record));
    }
    if (rows->size() < static_cast<size_t>(wanted)) return page;
    last_id = page.records.back().id;
  }
}

absl::Status MilvusCollection::Prepare() {
  pb::DescribeIndexRequest ask;
  ask.set_db_name(session_->options().database);
  ask.set_collection_name(name_);
  ask.set_field_name(kVectorColumn);
  pb::DescribeIndexResponse indexes;
  absl::Status status = Call("looking for the index", &Session::Stub::DescribeIndex, ask, &indexes);
  if (absl::IsUnavailable(status) || absl::IsDeadlineExceeded(status)) return status;
  if (!status.ok() ||
      indexes.index_descriptions().empty()) {  // no index is an error to some servers
    pb::CreateIndexRequest create;
    create.set_db_name(session_->options().database);
    create.set_collection_name(name_);
    create.set_field_name(kVectorColumn);
    create.set_index_name(kVectorColumn);
    FillIndexParams(options_.index, create.mutable_extra_params());
    pb::Status created;
    status = Call("making the index", &Session::Stub::CreateIndex, create, &created);
    if (!status.ok()) return status;
  }
  pb::GetLoadStateRequest state;
  state.set_db_name(session_->options().database);
  state.set_collection_name(name_);
  pb::GetLoadStateResponse loaded;
  status =
      Call("asking whether the collection is loaded", &Session::Stub::GetLoadState, state, &loaded);
  if (!status.ok()) return status;
  if (loaded.state() != pb::GetLoadStateResponse::NOT_LOADED) return absl::OkStatus();
  pb::CollectionRequest load = Named(session_->options().database, name_);
  load.set_replica_number(1);
  pb::Status started;
  return Call("loading a collection", &Session::Stub::LoadCollection, load, &started);
}

absl::Status MilvusCollection::AwaitLoaded() {
  pb::GetLoadStateRequest request;
  request.set_db_name(session_->options().database);
  request.set_collection_name(name_);
  while (true) {
    pb::GetLoadStateResponse response;
    absl::Status status = Call("asking whether the collection is loaded",
                               &Session::Stub::GetLoadState, request, &response);
    if (!status.ok()) return status;
    if (response.state() == pb::GetLoadStateResponse::LOADED) return absl::OkStatus();
    if (SteadyNow() + kPoll >= CallDeadline::Current()) {
      return absl::DeadlineExceededError(absl::StrCat("Milvus had not loaded collection '",
                                                      options_.name, "' before the deadline"));
    }
    absl::SleepFor(kPoll);
  }
}

absl::Status MilvusCollection::Optimize() {
  absl::Status status = CheckAlive();
  if (!status.ok()) return status;
  return FlushAndBuild(*session_, name_);
}

}  // namespace imagesearch::index
