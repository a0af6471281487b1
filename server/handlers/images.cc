// Get, Delete, Count and List: stored images by id or by filter.
#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/filter/filter.h"
#include "server/grpc_status.h"
#include "server/handlers/convert.h"
#include "server/handlers/handlers.h"
#include "server/handlers/target.h"
#include "server/handlers/validate.h"

namespace imagesearch::server {
namespace {

constexpr int kDefaultPageSize = 100;

absl::Status NoSuchImage() {
  return Error(absl::StatusCode::kNotFound, "NOT_FOUND", "the collection has no image of this id");
}

using Records = std::vector<std::optional<index::Record>>;

absl::StatusOr<Records> GetRecords(const Target& target,
                                   const google::protobuf::RepeatedPtrField<std::string>& ids,
                                   bool with_vector) {
  return target.collection->Get(std::vector<std::string>(ids.begin(), ids.end()), with_vector);
}

absl::Status TooLarge(uint64_t most) {
  return InvalidArgument("REPLY_TOO_LARGE",
                         absl::StrCat("the originals take more than the limit of a reply, ", most,
                                      " bytes: ask for fewer, or get them over HTTP"));
}

// With their uploads, which may take `most` bytes together.
absl::StatusOr<Records> GetOriginals(const Target& target,
                                     const google::protobuf::RepeatedPtrField<std::string>& ids,
                                     bool with_vector, uint64_t most) {
  Records records;
  uint64_t left = most;
  for (const std::string& id : ids) {
    auto record = target.collection->GetWithOriginal(id, with_vector, left);
    if (!record.ok()) return record.status();
    if (*record && (*record)->original_bytes > left) return TooLarge(most);
    if (*record) left -= (*record)->original.size();
    records.push_back(*std::move(record));
  }
  return records;
}

void SortUnique(google::protobuf::RepeatedPtrField<std::string>* ids) {
  std::sort(ids->begin(), ids->end());
  ids->erase(std::unique(ids->begin(), ids->end()), ids->end());
}

// Drops the records that are missing or don't match.
absl::Status KeepMatching(const std::string& filter_text, const Limits& limits, Records* records) {
  auto filter = index::Filter::Parse(filter_text, limits);
  if (!filter.ok()) return filter.status();
  records->erase(std::remove_if(records->begin(), records->end(),
                                [&filter](const std::optional<index::Record>& record) {
                                  return !record || !filter->Matches(record->id, record->metadata);
                                }),
                 records->end());
  return absl::OkStatus();
}

// A page over `ids` in their order. The page token is the last id of the page before.
absl::Status ListIds(const Target& target, const index::ListOptions& options, const Limits& limits,
                     google::protobuf::RepeatedPtrField<std::string>* ids,
                     v1::ListResponse* response) {
  SortUnique(ids);
  if (!options.page_token.empty()) {
    ids->erase(ids->begin(), std::upper_bound(ids->begin(), ids->end(), options.page_token));
  }
  response->set_version(target.backend->database->version());
  absl::StatusOr<Records> records = GetRecords(target, *ids, options.with_vector);
  if (!records.ok()) return records.status();
  absl::Status status = KeepMatching(options.filter, limits, &*records);
  if (!status.ok()) return status;
  uint64_t bytes = 0;
  for (std::optional<index::Record>& record : *records) {
    v1::StoredImage image;
    FillImage(*std::move(record), options.with_vector, &image);
    bytes += image.ByteSizeLong();
    if (response->images_size() == options.page_size ||
        (bytes > options.max_bytes && response->images_size() > 0)) {
      response->set_next_page_token(response->images().rbegin()->id());
      break;
    }
    *response->add_images() = std::move(image);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status Get(ServerState& state, CallContext& call, v1::GetRequest* request,
                 v1::GetResponse* response) {
  absl::Status status = CheckCount(request->ids_size(), state.limits().max_limit, "ids");
  if (status.ok()) status = CheckIds(request->ids(), state.limits());
  if (!status.ok()) return status;
  absl::StatusOr<Target> target =
      FindTarget(state, request->collection(), request->min_version(), call);
  if (!target.ok()) return target.status();
  // Before the read: the reply holds at least the writes up to here.
  response->set_version(target->backend->database->version());
  const bool with_vector = !request->without_vector();
  absl::StatusOr<Records> records =
      request->with_original()
          ? GetOriginals(*target, request->ids(), with_vector, state.limits().max_reply_bytes)
          : GetRecords(*target, request->ids(), with_vector);
  if (!records.ok()) return records.status();
  for (std::optional<index::Record>& record : *records) {
    v1::Status* result = response->add_results();
    if (record) {
      FillImage(*std::move(record), !request->without_vector(), response->add_images());
    } else {
      FillStatus(NoSuchImage(), result);
    }
  }
  if (response->images().empty()) {
    return Error(absl::StatusCode::kNotFound, "NOT_FOUND",
                 "the collection has no image of any of these ids");
  }
  return absl::OkStatus();
}

absl::Status SendStoredImage(ServerState& state, CallContext& call, v1::GetRequest* request,
                             v1::StoredImage* /*response*/) {
  absl::Status status = CheckCount(request->ids_size(), 1, "ids");
  if (status.ok()) status = CheckIds(request->ids(), state.limits());
  if (!status.ok()) return status;
  absl::StatusOr<Target> target = FindTarget(state, request->collection());
  if (!target.ok()) return target.status();
  auto record = target->collection->GetWithOriginal(
      request->ids(0), !request->without_vector(),
      request->with_original() ? std::numeric_limits<uint64_t>::max() : 0);
  if (!record.ok()) return record.status();
  if (!*record) return NoSuchImage();
  v1::StoredImage image;
  FillImage(**std::move(record), !request->without_vector(), &image);
  return call.send(&image);
}

absl::Status Delete(ServerState& state, CallContext& call, v1::DeleteRequest* request,
                    v1::DeleteResponse* response) {
  if (request->ids().empty() == request->filter().empty()) {
    return InvalidArgument("BAD_REQUEST", "give either ids or a filter");
  }
  absl::Status status = CheckIds(request->ids(), state.limits());
  if (status.ok()) status = CheckFilter(request->filter(), state.limits());
  if (!status.ok()) return status;
  absl::StatusOr<Target> target = FindTarget(state, request->collection());
  if (!target.ok()) return target.status();
  StageTimer timer(call, "write");
  auto deleted = request->ids().empty() ? target->collection->DeleteByFilter(request->filter())
                                        : target->collection->Delete(std::vector<std::string>(
                                              request->ids().begin(), request->ids().end()));
  if (!deleted.ok()) return deleted.status();
  response->set_deleted(deleted->deleted);
  response->set_version(deleted->version);
  return absl::OkStatus();
}

absl::Status Count(ServerState& state, CallContext& call, v1::CountRequest* request,
                   v1::CountResponse* response) {
  absl::Status status = CheckIds(request->ids(), state.limits());
  if (status.ok()) status = CheckFilter(request->filter(), state.limits());
  if (!status.ok()) return status;
  absl::StatusOr<Target> target =
      FindTarget(state, request->collection(), request->min_version(), call);
  if (!target.ok()) return target.status();
  if (request->ids().empty()) {
    auto count = target->collection->Count(request->filter());
    if (!count.ok()) return count.status();
    response->set_count(count->count);
    response->set_version(count->version);
    return absl::OkStatus();
  }
  response->set_version(target->backend->database->version());
  SortUnique(request->mutable_ids());
  absl::StatusOr<Records> records = GetRecords(*target, request->ids(), /*with_vector=*/false);
  if (!records.ok()) return records.status();
  status = KeepMatching(request->filter(), state.limits(), &*records);
  if (!status.ok()) return status;
  response->set_count(records->size());
  return absl::OkStatus();
}

absl::Status List(ServerState& state, CallContext& call, v1::ListRequest* request,
                  v1::ListResponse* response) {
  const Limits& limits = state.limits();
  if (request->page_size() < 0 ||
      request->page_size() > static_cast<int64_t>(limits.max_page_size)) {
    return AtField(
        InvalidArgument("BAD_PAGE_SIZE", absl::StrCat("must be 0 to ", limits.max_page_size)),
        "page_size");
  }
  absl::Status status = CheckIds(request->ids(), limits);
  if (status.ok()) status = CheckFilter(request->filter(), limits);
  if (!status.ok()) return status;
  absl::StatusOr<Target> target =
      FindTarget(state, request->collection(), request->min_version(), call);
  if (!target.ok()) return target.status();

  index::ListOptions options;
  options.filter = request->filter();
  options.page_size = request->page_size() == 0 ? kDefaultPageSize : request->page_size();
  options.page_token = request->page_token();
  options.with_vector = !request->without_vector();
  options.max_bytes = limits.max_reply_bytes - limits.max_reply_bytes / 16;  // room for framing
  if (request->ids().empty()) {
    StageTimer timer(call, "index");
    auto page = target->collection->List(options);
    if (!page.ok()) return page.status();
    for (index::Record& record : page->records) {
      FillImage(std::move(record), options.with_vector, response->add_images());
    }
    response->set_next_page_token(page->next_page_token);
    response->set_version(page->version);
    return absl::OkStatus();
  }
  return ListIds(*target, options, limits, request->mutable_ids(), response);
}

}  // namespace imagesearch::server
