// Counting, and sealing with the building of the index.
#include "index/milvus/collection_calls.h"

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/call_deadline.h"
#include "base/error.h"
#include "base/steady_time.h"
#include "index/milvus/row.h"

namespace imagesearch::index {
namespace {

constexpr absl::Duration kPoll = absl::Milliseconds(100);

// False once the deadline would pass meanwhile.
bool Pause() {
  if (SteadyNow() + kPoll >= CallDeadline::Current()) return false;
  absl::SleepFor(kPoll);
  return true;
}

absl::Status TooLate(absl::string_view what) {
  return absl::DeadlineExceededError(absl::StrCat("Milvus had not ", what, " before the deadline"));
}

}  // namespace

absl::StatusOr<uint64_t> CountRows(Session& session, const std::string& collection,
                                   const std::string& expression) {
  pb::QueryRequest request;
  request.set_db_name(session.options().database);
  request.set_collection_name(collection);
  request.set_expr(expression);
  request.add_output_fields("count(*)");
  request.set_guarantee_timestamp(session.version());
  request.set_consistency_level(pb::SESSION);
  pb::QueryResults response;
  absl::Status status = session.Call("counting images", &Session::Stub::Query, request, &response);
  if (!status.ok()) return status;
  if (response.fields_data_size() != 1 ||
      response.fields_data(0).scalars().long_data().data_size() != 1) {
    return Error(absl::StatusCode::kInternal, "MILVUS_ERROR", "Milvus' count is no number");
  }
  return static_cast<uint64_t>(response.fields_data(0).scalars().long_data().data(0));
}

absl::Status FlushAndBuild(Session& session, const std::string& collection) {
  pb::FlushRequest request;
  request.set_db_name(session.options().database);
  request.add_collection_names(collection);
  pb::FlushResponse flush;
  absl::Status status =
      session.Call("sealing a collection", &Session::Stub::Flush, request, &flush);
  if (!status.ok()) return status;
  pb::GetFlushStateRequest ask;
  ask.set_db_name(session.options().database);
  ask.set_collection_name(collection);
  if (const auto found = flush.coll_seg_ids().find(collection);
      found != flush.coll_seg_ids().end()) {
    *ask.mutable_segment_ids() = found->second.data();
  }
  if (const auto found = flush.coll_flush_ts().find(collection);
      found != flush.coll_flush_ts().end()) {
    ask.set_flush_ts(found->second);
  }
  pb::GetFlushStateResponse flushed;
  do {
    status = session.Call("waiting for the sealing", &Session::Stub::GetFlushState, ask, &flushed);
    if (!status.ok()) return status;
    if (!flushed.flushed() && !Pause()) return TooLate("sealed the collection");
  } while (!flushed.flushed());
  pb::DescribeIndexRequest describe;
  describe.set_db_name(session.options().database);
  describe.set_collection_name(collection);
  describe.set_field_name(kVectorColumn);
  while (true) {
    pb::DescribeIndexResponse indexes;
    status =
        session.Call("waiting for the index", &Session::Stub::DescribeIndex, describe, &indexes);
    if (!status.ok()) return status;
    bool built = !indexes.index_descriptions().empty();
    for (const pb::IndexDescription& index : indexes.index_descriptions()) {
      if (index.state() == pb::IndexDescription::FAILED) {
        return Error(
            absl::StatusCode::kInternal, "MILVUS_ERROR",
            absl::StrCat("Milvus could not build the index: ", index.index_state_fail_reason()));
      }
      built &= index.state() == pb::IndexDescription::FINISHED && index.pending_index_rows() == 0;
    }
    if (built) return absl::OkStatus();
    if (!Pause()) return TooLate("built the index");
  }
}

}  // namespace imagesearch::index
