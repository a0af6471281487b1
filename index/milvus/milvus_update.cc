// Merge patches of metadata: rows are read whole, patched and written back, while KeyLocks keeps
// this process' other writers of the same images away.
#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "absl/strings/str_cat.h"
#include "base/call_deadline.h"
#include "base/error.h"
#include "google/protobuf/util/message_differencer.h"
#include "index/milvus/collection_calls.h"
#include "index/milvus/expression.h"
#include "index/milvus/milvus_collection.h"
#include "index/store/merge_patch.h"

namespace imagesearch::index {
namespace {

// Images of one batch of an update by filter.
constexpr int kBatchImages = 512;

}  // namespace

absl::Status MilvusCollection::PatchRows(std::vector<Record> records,
                                         const google::protobuf::Struct& patch,
                                         const UpdateOptions& options, UpdateResult* result) {
  auto version = session_->Now();
  if (!version.ok()) return version.status();
  std::vector<Row> rows;
  for (Record& record : records) {
    google::protobuf::Struct patched = record.metadata;
    MergePatch(patch, &patched);
    if (google::protobuf::util::MessageDifferencer::Equals(patched, record.metadata)) continue;
    Row row;
    absl::Status fits = options.check ? options.check(patched) : absl::OkStatus();
    if (fits.ok()) fits = SetMetadata(patched, &row);
    if (!fits.ok()) {
      return Error(fits.code(), ReasonOf(fits),
                   absl::StrCat("image '", record.id, "' with the patch: ", fits.message()));
    }
    row.id = std::move(record.id);
    row.vector = std::move(record.vector);
    row.expires = ExpiresOf(record.expire_time);
    row.hash = std::move(record.content_hash);
    row.version = *version;
    rows.push_back(std::move(row));
  }
  result->matched += records.size();
  uint64_t written = 0;
  absl::Status status = WriteRows(rows, &written);
  if (!status.ok()) return status;
  result->updated += rows.size();
  return absl::OkStatus();
}

absl::StatusOr<UpdateResult> MilvusCollection::UpdateMetadata(absl::Span<const std::string> ids,
                                                              const google::protobuf::Struct& patch,
                                                              const UpdateOptions& options) {
  absl::Status status = CheckAlive();
  if (!status.ok()) return status;
  std::vector<std::string> different(ids.begin(), ids.end());
  std::sort(different.begin(), different.end());
  different.erase(std::unique(different.begin(), different.end()), different.end());
  UpdateResult result;
  if (!different.empty()) {
    auto held = locks_.Acquire(different, CallDeadline::Current());
    if (!held.ok()) return held.status();
    auto records = ReadIds(different, /*with_vector=*/true);
    if (!records.ok()) return records.status();
    const absl::Time now = absl::FromUnixMicros(session_->NowMicros());
    records->erase(std::remove_if(records->begin(), records->end(),
                                  [&](const Record& record) { return record.expire_time <= now; }),
                   records->end());
    absl::flat_hash_map<std::string, bool> found;
    for (const Record& record : *records) found[record.id] = true;
    for (const std::string& id : ids) {
      result.items.push_back(found.contains(id) ? absl::OkStatus()
                                                : Error(absl::StatusCode::kNotFound, "NOT_FOUND",
                                                        "the collection has no image of this id"));
    }
    status = PatchRows(*std::move(records), patch, options, &result);
    if (!status.ok()) return status;
  }
  result.version = session_->version();
  return result;
}

absl::StatusOr<UpdateResult> MilvusCollection::UpdateMetadataByFilter(
    const std::string& filter, const google::protobuf::Struct& patch,
    const UpdateOptions& options) {
  absl::Status status = CheckAlive();
  if (!status.ok()) return status;
  auto live = LiveExpression(filter);
  if (!live.ok()) return live.status();
  UpdateResult result;
  std::string last_id;
  const int step = std::min(kBatchImages, RowsOfAReply(/*with_vector=*/true));
  for (bool more = true; more;) {
    status = options.proceed ? options.proceed() : absl::OkStatus();
    if (status.ok()) {
      auto page = ReadRows(And(absl::StrCat("id > ", Quoted(last_id)), *live), step,
                           /*with_vector=*/false);
      status = page.status();
      if (status.ok() && page->empty()) break;
      if (status.ok()) {
        more = page->size() == static_cast<size_t>(step);
        std::vector<std::string> ids;
        for (const Record& record : *page) ids.push_back(record.id);
        last_id = ids.back();
        auto held = locks_.Acquire(ids, CallDeadline::Current());
        status = held.status();
        if (status.ok()) {
          // Some may have changed before they were held.
          auto records = ReadRows(And(IdIn(ids), *live), 0, /*with_vector=*/true);
          status = records.ok() ? PatchRows(*std::move(records), patch, options, &result)
                                : records.status();
        }
      }
    }
    if (!status.ok()) {
      if (result.updated == 0) return status;
      return Error(status.code(), ReasonOf(status),
                   absl::StrCat(status.message(), " (", result.updated,
                                " images were updated before; the same call can be sent again)"));
    }
  }
  result.version = session_->version();
  return result;
}

}  // namespace imagesearch::index
