// Writing. Milvus replaces and deletes by key and knows no conditions, so what depends on the
// stored state is read first, while KeyLocks keeps this process' other writers of the same images
// away.
#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "base/call_deadline.h"
#include "base/error.h"
#include "index/milvus/collection_calls.h"
#include "index/milvus/expression.h"
#include "index/milvus/milvus_collection.h"
#include "index/store/unit_vector.h"

namespace imagesearch::index {
namespace {

// Of one Upsert to Milvus; more are sent one after the other.
constexpr uint64_t kWriteBytes = 16u << 20;
// Ids that DeleteByFilter takes at a time.
constexpr int kDeletePage = 1000;

absl::Status CheckId(const std::string& id, uint32_t max_bytes) {
  if (!id.empty() && id.size() <= max_bytes) return absl::OkStatus();
  return InvalidArgument(
      "BAD_ID", absl::StrCat("the id has ", id.size(), " bytes; 1 to ", max_bytes, " are allowed"));
}

// One id of a batch.
struct Staged {
  Row row;
  bool has_vector = false;
  bool has_metadata = false;
  UpsertItemResult result;
};

absl::Status Decide(const Staged& item, bool live, bool create_only) {
  if (live && create_only) {
    return Error(absl::StatusCode::kAlreadyExists, "ALREADY_EXISTS",
                 absl::StrCat("image '", item.row.id, "' exists and create_only is set"));
  }
  if (!live && !item.has_vector) {
    return Error(absl::StatusCode::kNotFound, "NOT_FOUND",
                 absl::StrCat("image '", item.row.id,
                              "' does not exist; without content only an existing one's metadata ",
                              "can be updated"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status MilvusCollection::WriteRows(absl::Span<const Row> rows, uint64_t* version) {
  for (size_t begin = 0; begin < rows.size();) {
    uint64_t bytes = 0;
    size_t end = begin;
    while (end < rows.size() && (end == begin || bytes + rows[end].bytes() <= kWriteBytes)) {
      bytes += rows[end++].bytes();
    }
    const auto some = rows.subspan(begin, end - begin);
    pb::UpsertRequest request;
    request.set_db_name(session_->options().database);
    request.set_collection_name(name_);
    request.set_num_rows(static_cast<uint32_t>(some.size()));
    FillColumns(some, options_.dimension, request.mutable_fields_data());
    pb::MutationResult response;
    absl::Status status = Call("writing images", &Session::Stub::Upsert, request, &response);
    if (!status.ok()) return status;
    if (!response.err_index().empty()) {
      return Error(absl::StatusCode::kInternal, "MILVUS_ERROR",
                   absl::StrCat("Milvus refused ", response.err_index_size(), " of ", some.size(),
                                " images of a write"));
    }
    auto written = session_->Written(response.timestamp());
    if (!written.ok()) return written.status();
    *version = *written;
    begin = end;
  }
  return absl::OkStatus();
}

absl::StatusOr<UpsertResult> MilvusCollection::Upsert(std::vector<UpsertItem> items,
                                                      const UpsertOptions& upsert) {
  absl::Status status = CheckAlive();
  if (!status.ok()) return status;
  if (upsert.on_duplicate != OnDuplicate::kKeep) {
    return NotOnMilvus("on_duplicate: duplicates are not looked for over Milvus");
  }
  const uint32_t max_id_bytes = std::min(session_->options().limits.max_id_bytes, kMaxIdBytes);
  // An id given twice: the last one wins, so only that one is staged.
  absl::flat_hash_map<std::string, size_t> staged_of_id;
  std::vector<size_t> staged_of_item(items.size());
  std::vector<Staged> staged;
  for (size_t i = 0; i < items.size(); ++i) {
    const auto [at, fresh] = staged_of_id.try_emplace(items[i].id, staged.size());
    if (fresh) staged.emplace_back();
    staged_of_item[i] = at->second;
    Staged next;
    next.row.id = items[i].id;
    next.has_vector = items[i].vector.has_value();
    next.has_metadata = items[i].metadata.has_value();
    next.result.status = CheckId(next.row.id, max_id_bytes);
    if (next.result.status.ok() && !items[i].source_uri.empty()) {
      next.result.status = NotOnMilvus("source_uri: not kept in Milvus; metadata can hold it");
    }
    if (next.result.status.ok() && next.has_vector) {
      next.row.vector = *std::move(items[i].vector);
      next.result.status = MakeUnitVector(options_.dimension, &next.row.vector);
    }
    if (next.result.status.ok() && (next.has_vector || next.has_metadata)) {
      next.result.status =
          SetMetadata(items[i].metadata.value_or(google::protobuf::Struct()), &next.row);
    }
    next.row.expires = ExpiresOf(items[i].expire_time);
    next.row.hash = std::move(items[i].content_hash);
    staged[at->second] = std::move(next);
  }

  std::vector<std::string> ids, updated;
  for (const Staged& item : staged) {
    if (!item.result.status.ok()) continue;
    ids.push_back(item.row.id);
    if (!item.has_vector) updated.push_back(item.row.id);
  }
  UpsertResult result;
  if (!ids.empty()) {
    auto held = locks_.Acquire(ids, CallDeadline::Current());
    if (!held.ok()) return held.status();
    absl::flat_hash_map<std::string, Record> stored;
    auto read = ReadIds(ids, /*with_vector=*/false);
    if (read.ok() && !updated.empty()) {
      auto whole = ReadIds(updated, /*with_vector=*/true);
      if (!whole.ok()) return whole.status();
      for (Record& record : *whole) stored[record.id] = std::move(record);
    }
    if (!read.ok()) return read.status();
    for (Record& record : *read) stored.try_emplace(record.id, std::move(record));
    auto now_version = session_->Now();
    if (!now_version.ok()) return now_version.status();
    const absl::Time now = absl::FromUnixMicros(session_->NowMicros());
    std::vector<Row> rows;
    for (Staged& item : staged) {
      if (!item.result.status.ok()) continue;
      const auto found = stored.find(item.row.id);
      const bool live = found != stored.end() && found->second.expire_time > now;
      item.result.created = !live;
      item.result.status = Decide(item, live, upsert.create_only);
      if (!item.result.status.ok()) continue;
      if (!item.has_vector) {
        item.row.vector = std::move(found->second.vector);
        item.row.hash = std::move(found->second.content_hash);
        if (!item.has_metadata) {
          item.result.status = SetMetadata(found->second.metadata, &item.row);
          if (!item.result.status.ok()) continue;
        }
      }
      item.row.version = *now_version;
      rows.push_back(std::move(item.row));
    }
    status = WriteRows(rows, &result.version);
    if (!status.ok()) return status;
  }
  for (size_t i = 0; i < items.size(); ++i) {
    result.items.push_back(staged[staged_of_item[i]].result);
    if (!result.items.back().status.ok()) result.items.back().created = false;
  }
  return result;
}

absl::Status MilvusCollection::Remove(absl::Span<const std::string> ids) {
  pb::DeleteRequest request;
  request.set_db_name(session_->options().database);
  request.set_collection_name(name_);
  request.set_expr(IdIn(ids));
  pb::MutationResult response;
  absl::Status status = Call("deleting images", &Session::Stub::Delete, request, &response);
  if (!status.ok()) return status;
  return session_->Written(response.timestamp()).status();
}

absl::StatusOr<DeleteResult> MilvusCollection::Delete(absl::Span<const std::string> ids) {
  absl::Status status = CheckAlive();
  if (!status.ok()) return status;
  std::vector<std::string> different(ids.begin(), ids.end());
  std::sort(different.begin(), different.end());
  different.erase(std::unique(different.begin(), different.end()), different.end());
  DeleteResult result;
  if (!different.empty()) {
    auto held = locks_.Acquire(different, CallDeadline::Current());
    if (!held.ok()) return held.status();
    auto stored = ReadIds(different, /*with_vector=*/false);
    if (!stored.ok()) return stored.status();
    const absl::Time now = absl::FromUnixMicros(session_->NowMicros());
    std::vector<std::string> found;
    for (const Record& record : *stored) {
      found.push_back(record.id);
      if (record.expire_time > now) ++result.deleted;
    }
    if (!found.empty()) {
      status = Remove(found);
      if (!status.ok()) return status;
    }
  }
  result.version = session_->version();
  return result;
}

absl::StatusOr<DeleteResult> MilvusCollection::DeleteByFilter(const std::string& filter) {
  absl::Status status = CheckAlive();
  if (!status.ok()) return status;
  auto live = LiveExpression(filter);
  if (!live.ok()) return live.status();
  DeleteResult result;
  std::string last_id;
  while (true) {
    auto page = ReadRows(And(absl::StrCat("id > ", Quoted(last_id)), *live), kDeletePage,
                         /*with_vector=*/false);
    if (!page.ok()) return page.status();
    if (page->empty()) break;
    last_id = page->back().id;
    std::vector<std::string> ids;
    for (const Record& record : *page) ids.push_back(record.id);
    auto held = locks_.Acquire(ids, CallDeadline::Current());
    if (!held.ok()) return held.status();
    // Some may have changed before they were held.
    auto still = ReadRows(And(IdIn(ids), *live), 0, /*with_vector=*/false);
    if (!still.ok()) return still.status();
    ids.clear();
    for (const Record& record : *still) ids.push_back(record.id);
    if (!ids.empty()) {
      status = Remove(ids);
      if (!status.ok()) return status;
    }
    result.deleted += ids.size();
    if (page->size() < kDeletePage) break;
  }
  result.version = session_->version();
  return result;
}

absl::Status MilvusCollection::SweepExpired(int64_t micros) {
  absl::Status status = CheckAlive();
  if (!status.ok()) return status;
  // Ids first, and deleted while held, so that no writer of this process is overtaken.
  while (true) {
    auto page = ReadRows(absl::StrCat("expires < ", micros), kDeletePage, /*with_vector=*/false);
    if (!page.ok()) return page.status();
    if (page->empty()) return absl::OkStatus();
    std::vector<std::string> ids;
    for (const Record& record : *page) ids.push_back(record.id);
    auto held = locks_.Acquire(ids, CallDeadline::Current());
    if (!held.ok()) return held.status();
    auto still = ReadRows(And(IdIn(ids), absl::StrCat("expires < ", micros)), 0, false);
    if (!still.ok()) return still.status();
    ids.clear();
    for (const Record& record : *still) ids.push_back(record.id);
    if (ids.empty()) continue;
    status = Remove(ids);
    if (!status.ok()) return status;
  }
}

}  // namespace imagesearch::index
