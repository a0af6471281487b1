// The reading half of EmbeddedCollection. Every read takes one view and answers from it alone.
#include "index/embedded_collection.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/store/keys.h"
#include "index/store/linked_stop.h"
#include "index/store/page_token.h"
#include "index/store/unit_vector.h"

namespace imagesearch::index {

struct EmbeddedCollection::PreparedQuery {
  const Query* query = nullptr;
  std::vector<float> vector;
  Filter filter;
};

namespace {

absl::Time ExpireTime(int64_t micros) {
  return micros == 0 ? absl::InfiniteFuture() : absl::FromUnixMicros(micros);
}

bool IsExpired(const records::Item& item, int64_t now_micros) {
  return item.expire_unix_micros() != 0 && item.expire_unix_micros() <= now_micros;
}

// Bytes that a record takes in a reply, about.
uint64_t RecordBytes(const Record& record) {
  return record.id.size() + record.vector.size() * sizeof(float) + record.metadata.ByteSizeLong() +
         record.content_hash.size() + 48;
}

// Every write acknowledged with a version up to this is in a view taken afterwards.
uint64_t AnswerVersion(uint64_t before, const View& view) { return std::max(before, view.version); }

}  // namespace

absl::Status EmbeddedCollection::CheckAlive() const {
  if (!state_->deleted.load()) return absl::OkStatus();
  return Error(absl::StatusCode::kNotFound, "NO_SUCH_COLLECTION",
               absl::StrCat("collection '", options().name, "' was deleted"));
}

CollectionInfo EmbeddedCollection::Info() const {
  CollectionInfo info;
  info.options = options();
  Gate::Pass pass(&engine_->gate);
  if (!pass.status().ok()) return info;
  state_->HideExpired(engine_->NowMicros());
  const std::shared_ptr<const View> view = state_->view();
  info.image_count = view->live;
  info.version = view->version;
  info.segments = static_cast<uint32_t>(view->segments.size());
  info.tail_rows = view->tail_rows();
  info.recall_text = state_->probe.Recall(QueryKind::kText);
  info.recall_image = state_->probe.Recall(QueryKind::kImage);
  info.original_bytes = state_->original_bytes.load();
  info.memory_bytes = state_->memory_bytes();
  info.disk_bytes = engine_->store->CollectionBytes(state_->id);
  info.stored_bytes = static_cast<uint64_t>(std::max<int64_t>(state_->stored_bytes.load(), 0));
  uint32_t largest = 0;
  for (const SegmentPart& part : view->segments) {
    info.disk_bytes += part.segment->row_file().file_bytes();
    info.index_bytes += part.segment->index().memory_bytes();
    if (part.segment->rows() <= largest) continue;
    largest = part.segment->rows();
    info.serving_kind = part.segment->index().kind();
    info.serving_pq_bytes = part.segment->index().pq_bytes();
  }
  return info;
}

absl::StatusOr<EmbeddedCollection::PreparedQuery> EmbeddedCollection::Prepare(
    const Query& query) const {
  if (query.limit < 1 || query.offset < 0) {
    return InvalidArgument("BAD_LIMIT", absl::StrCat("limit is ", query.limit, " and offset ",
                                                     query.offset, "; they start at 1 and at 0"));
  }
  PreparedQuery prepared;
  prepared.query = &query;
  prepared.vector = query.vector;
  absl::Status status = MakeUnitVector(state_->options.dimension, &prepared.vector);
  if (!status.ok()) return status;
  auto filter = Filter::Parse(query.filter, engine_->options.limits);
  if (!filter.ok()) return filter.status();
  prepared.filter = *std::move(filter);
  return prepared;
}

absl::StatusOr<SearchResult> EmbeddedCollection::Search(const Query& query) {
  return std::move(SearchBatch({&query, 1})[0]);
}

std::vector<absl::StatusOr<SearchResult>> EmbeddedCollection::SearchBatch(
    absl::Span<const Query> queries) {
  std::vector<absl::StatusOr<SearchResult>> results(queries.size(), absl::UnknownError(""));
  Gate::Pass pass(&engine_->gate);
  absl::Status status = pass.status();
  if (status.ok()) status = CheckAlive();
  if (!status.ok()) {
    std::fill(results.begin(), results.end(), status);
    return results;
  }
  state_->HideExpired(engine_->NowMicros());
  const uint64_t before = engine_->commit.version();

  std::vector<PreparedQuery> prepared;
  std::vector<size_t> owners;  // prepared[i] answers queries[owners[i]]
  for (size_t i = 0; i < queries.size(); ++i) {
    auto query = Prepare(queries[i]);
    if (!query.ok()) {
      results[i] = query.status();
      continue;
    }
    if (!queries[i].exact && queries[i].filter.empty()) {
      state_->probe.Offer(queries[i].kind, query->vector);
    }
    prepared.push_back(*std::move(query));
    owners.push_back(i);
  }
  std::vector<const Filter*> filters;
  for (const PreparedQuery& query : prepared) filters.push_back(&query.filter);
  const CollectionState::Reading reading = state_->Read(filters);
  std::vector<SearchSpec> specs;
  for (size_t i = 0; i < prepared.size(); ++i) {
    SearchSpec spec;
    spec.vector = prepared[i].vector.data();
    spec.kind = prepared[i].query->kind;
    spec.k = static_cast<size_t>(prepared[i].query->offset) + prepared[i].query->limit;
    spec.exact = prepared[i].query->exact;
    spec.allowed = reading.allowed[i].get();
    specs.push_back(spec);
  }
  const auto candidates = SearchView(*reading.view, state_->options.dimension, specs);
  for (size_t i = 0; i < prepared.size(); ++i) {
    results[owners[i]] =
        Finish(prepared[i], *reading.view, AnswerVersion(before, *reading.view), candidates[i]);
  }
  return results;
}

absl::StatusOr<SearchResult> EmbeddedCollection::Finish(
    const PreparedQuery& query, const View& view, uint64_t version,
    absl::Span<const Candidate> candidates) const {
  SearchResult result;
  result.version = version;
  for (size_t i = query.query->offset; i < candidates.size(); ++i) {
    const Candidate& candidate = candidates[i];
    if (query.query->min_score && candidate.score < *query.query->min_score) break;
    Hit hit;
    hit.id = std::string(candidate.id);
    hit.score = candidate.score;
    if (query.query->with_vector) {
      hit.vector.assign(candidate.vector, candidate.vector + state_->options.dimension);
    }
    if (query.query->with_metadata || query.query->with_identity) {
      auto item = ReadItem(view, candidate.id);
      if (!item.ok()) return item.status();
      if (!item->has_value()) {
        return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                     absl::StrCat("image '", hit.id, "' has a vector but no record"));
      }
      if (query.query->with_identity) {
        StoredIdentity identity = StoredIdentity::Of(**item);
        hit.content_hash = std::move(identity.content_hash);
        hit.perceptual_hash = identity.perceptual_hash;
      }
      if (query.query->with_metadata) hit.metadata = std::move(*(*item)->mutable_metadata());
    }
    result.hits.push_back(std::move(hit));
  }
  return result;
}

absl::StatusOr<std::optional<records::Item>> EmbeddedCollection::ReadItem(
    const View& view, absl::string_view id) const {
  std::string value;
  absl::Status status =
      engine_->store->Get(Family::kItems, ItemKey(state_->id, id), view.snapshot, &value);
  if (absl::IsNotFound(status)) return std::nullopt;
  if (!status.ok()) return status;
  records::Item item;
  if (!item.ParseFromString(value)) {
    return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                 absl::StrCat("the record of image '", id, "' is unreadable"));
  }
  return item;
}

Record EmbeddedCollection::MakeRecord(const View& view, absl::string_view id, records::Item item,
                                      bool with_vector) const {
  Record record;
  record.id = std::string(id);
  record.expire_time = ExpireTime(item.expire_unix_micros());
  record.content_hash = item.content_hash();
  record.version = item.version();
  record.perceptual_hash = StoredIdentity::Of(item).perceptual_hash;
  record.original_bytes = item.original_bytes();
  record.source_uri = item.source_uri();
  record.source_version = item.source_version();
  record.metadata = std::move(*item.mutable_metadata());
  if (with_vector) {
    if (std::optional<RowRef> row = view.Find(item.slot())) {
      record.vector.assign(row->vector, row->vector + state_->options.dimension);
    }
  }
  return record;
}

absl::StatusOr<std::vector<std::optional<Record>>> EmbeddedCollection::Get(
    absl::Span<const std::string> ids, bool with_vector) {
  Gate::Pass pass(&engine_->gate);
  absl::Status status = pass.status();
  if (status.ok()) status = CheckAlive();
  if (!status.ok()) return status;
  const int64_t now = engine_->NowMicros();
  const std::shared_ptr<const View> view = state_->view();
  std::vector<std::optional<Record>> found(ids.size());
  for (size_t i = 0; i < ids.size(); ++i) {
    auto item = ReadItem(*view, ids[i]);
    if (!item.ok()) return item.status();
    if (!item->has_value() || IsExpired(**item, now)) continue;
    found[i] = MakeRecord(*view, ids[i], std::move(**item), with_vector);
  }
  return found;
}

absl::StatusOr<CountResult> EmbeddedCollection::Count(const std::string& filter_text) {
  Gate::Pass pass(&engine_->gate);
  absl::Status status = pass.status();
  if (status.ok()) status = CheckAlive();
  if (!status.ok()) return status;
  auto filter = Filter::Parse(filter_text, engine_->options.limits);
  if (!filter.ok()) return filter.status();
  state_->HideExpired(engine_->NowMicros());
  const uint64_t before = engine_->commit.version();
  const CollectionState::Reading reading = state_->Read({&*filter});
  CountResult result;
  result.count = reading.allowed[0] == nullptr ? reading.view->live
                                               : CountAllowed(*reading.view, *reading.allowed[0]);
  result.version = AnswerVersion(before, *reading.view);
  return result;
}

absl::StatusOr<ListPage> EmbeddedCollection::List(const ListOptions& list) {
  Gate::Pass pass(&engine_->gate);
  absl::Status status = pass.status();
  if (status.ok()) status = CheckAlive();
  if (!status.ok()) return status;
  if (list.page_size < 1) {
    return InvalidArgument("BAD_PAGE_SIZE",
                           absl::StrCat("page_size is ", list.page_size, "; it starts at 1"));
  }
  auto filter = Filter::Parse(list.filter, engine_->options.limits);
  if (!filter.ok()) return filter.status();
  std::string from = CollectionPrefix(state_->id);
  if (!list.page_token.empty()) {
    auto last_id = DecodePageToken(list.page_token, state_->id, list.filter);
    // A list that began before a re-embedding's cut-over goes on behind the same id.
    if (const uint32_t before = state_->replaces.load(); !last_id.ok() && before != 0) {
      auto earlier = DecodePageToken(list.page_token, before, list.filter);
      if (earlier.ok()) last_id = std::move(earlier);
    }
    if (!last_id.ok()) return last_id.status();
    from = ItemKey(state_->id, *last_id);
    from.push_back('\0');  // the first key behind it
  }
  const int64_t now = engine_->NowMicros();
  ListPage page;
  const uint64_t before = engine_->commit.version();
  const std::shared_ptr<const View> view = state_->view();
  page.version = AnswerVersion(before, *view);
  uint64_t bytes = 0;
  RocksStore::Range range = engine_->store->Scan(
      Family::kItems, from, CollectionPrefix(state_->id + 1), view->snapshot, /*sequential=*/false);
  for (; range.Valid(); range.Next()) {
    const absl::string_view id = range.key().substr(sizeof(uint32_t));
    records::Item item;
    if (!item.ParseFromArray(range.value().data(), static_cast<int>(range.value().size()))) {
      return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                   absl::StrCat("the record of image '", id, "' is unreadable"));
    }
    if (IsExpired(item, now) || !filter->Matches(id, item.metadata())) continue;
    Record record = MakeRecord(*view, id, std::move(item), list.with_vector);
    bytes += RecordBytes(record);
    const bool full = page.records.size() == static_cast<size_t>(list.page_size) ||
                      (list.max_bytes > 0 && bytes > list.max_bytes && !page.records.empty());
    if (full) {
      page.next_page_token = EncodePageToken(state_->id, list.filter, page.records.back().id);
      return page;
    }
    page.records.push_back(std::move(record));
  }
  status = range.status();
  if (!status.ok()) return status;
  return page;
}

void EmbeddedCollection::ProbeRecall() {
  Gate::Pass pass(&engine_->gate);
  if (!pass.status().ok() || state_->deleted.load()) return;
  const std::shared_ptr<const View> view = state_->view();
  for (const auto& [kind, vector] : state_->probe.Take()) {
    SearchSpec spec;
    spec.vector = vector.data();
    spec.kind = kind;
    spec.k = RecallProbe::kTop;
    const auto answer = SearchView(*view, state_->options.dimension, {spec})[0];
    spec.exact = true;
    const auto exact = SearchView(*view, state_->options.dimension, {spec})[0];
    if (exact.empty()) continue;
    // By score, so that one of several equal images is as good as another.
    const auto found = std::count_if(answer.begin(), answer.end(), [&](const Candidate& hit) {
      return hit.score >= exact.back().score;
    });
    state_->probe.Report(kind, static_cast<int>(found), static_cast<int>(exact.size()));
  }
}

absl::Status EmbeddedCollection::Merge(MergeOccasion occasion, const JobControl& control) {
  Gate::Pass pass(&engine_->gate);
  absl::Status status = pass.status();
  if (status.ok()) status = CheckAlive();
  if (status.ok()) status = merger_.Run(occasion, control);
  return JobError(status, control);
}

absl::Status EmbeddedCollection::Compact(const JobControl& control) {
  const LinkedStop stop(control.cancelled, engine_->cancelled);
  // The index is most of the work; what the store does can't be counted.
  constexpr uint64_t kParts = 100, kIndexParts = 80;
  JobControl index_part{nullptr, control.cancelled};
  index_part.progress = [&](uint64_t done, uint64_t total) {
    control.Report(total == 0 ? kIndexParts : kIndexParts * done / total, kParts);
  };
  absl::Status status = Merge(MergeOccasion::kForced, index_part);
  if (!status.ok()) return status;
  Gate::Pass pass(&engine_->gate);
  status = pass.status();
  if (status.ok()) status = CheckAlive();
  control.Report(kIndexParts, kParts);
  if (status.ok()) status = engine_->store->CompactCollection(state_->id, {nullptr, stop.flag()});
  if (status.ok()) control.Report(kParts, kParts);
  return JobError(status, control);
}

}  // namespace imagesearch::index
