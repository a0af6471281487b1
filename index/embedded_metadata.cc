// What EmbeddedCollection knows of its images beside their neighbours: words and values of the
// metadata, a sample of the vectors.
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/error.h"
#include "index/embedded_collection.h"
#include "index/store/keys.h"

namespace imagesearch::index {

absl::Status EmbeddedCollection::FillKeywords(const View& view, KeywordIndex* index) const {
  RocksStore::Range range =
      engine_->store->Scan(Family::kItems, CollectionPrefix(state_->id),
                           CollectionPrefix(state_->id + 1), view.snapshot, /*sequential=*/true);
  records::Item item;
  for (; range.Valid(); range.Next()) {
    if (engine_->cancelled->load(std::memory_order_relaxed)) {
      return Error(absl::StatusCode::kUnavailable, "CLOSED", "the database is closed");
    }
    if (!item.ParseFromArray(range.value().data(), static_cast<int>(range.value().size()))) {
      return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT",
                   absl::StrCat("collection '", options().name, "': a record is unreadable"));
    }
    index->Fill(item.slot(), item.metadata());
  }
  return range.status();
}

absl::StatusOr<KeywordResult> EmbeddedCollection::SearchKeywords(const KeywordQuery& query) {
  Gate::Pass pass(&engine_->gate);
  absl::Status status = pass.status();
  if (status.ok()) status = CheckAlive();
  if (!status.ok()) return status;
  auto filter = Filter::Parse(query.filter, engine_->options.limits);
  if (!filter.ok()) return filter.status();
  auto keywords = state_->Keywords(
      [this](const View& view, KeywordIndex* index) { return FillKeywords(view, index); });
  if (!keywords.ok()) return keywords.status();
  state_->HideExpired(engine_->NowMicros());
  const CollectionState::Reading reading = state_->Read({&*filter});
  const auto allows = [&](uint32_t slot) {
    if (reading.allowed[0] != nullptr && !reading.allowed[0]->Contains(slot)) return false;
    const std::optional<RowRef> row = reading.view->Find(slot);
    return row && row->alive;
  };
  KeywordResult result;
  for (const KeywordMatch& match :
       (*keywords)->Search(query.text, query.fields, allows, query.limit)) {
    result.hits.push_back({std::string(reading.view->Find(match.slot)->id), match.score});
  }
  return result;
}

absl::StatusOr<std::vector<ValueCount>> EmbeddedCollection::CountValues(
    const std::string& filter_text, const FieldPath& field, size_t limit) {
  Gate::Pass pass(&engine_->gate);
  absl::Status status = pass.status();
  if (status.ok()) status = CheckAlive();
  if (!status.ok()) return status;
  auto filter = Filter::Parse(filter_text, engine_->options.limits);
  if (!filter.ok()) return filter.status();
  state_->HideExpired(engine_->NowMicros());
  const CollectionState::Reading reading = state_->Read({&*filter});
  return state_->CountValues(field, LiveSlots(*reading.view, reading.allowed[0].get()), limit);
}

absl::StatusOr<VectorSample> EmbeddedCollection::Sample(size_t n) {
  Gate::Pass pass(&engine_->gate);
  absl::Status status = pass.status();
  if (status.ok()) status = CheckAlive();
  if (!status.ok()) return status;
  state_->HideExpired(engine_->NowMicros());
  const std::shared_ptr<const View> view = state_->view();
  VectorSample sample;
  sample.live = view->live;
  sample.version = view->version;
  for (const float* row : SampleRows(*view, n)) {
    sample.vectors.insert(sample.vectors.end(), row, row + options().dimension);
  }
  return sample;
}

}  // namespace imagesearch::index
