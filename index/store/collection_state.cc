#include "index/store/collection_state.h"

#include <algorithm>
#include <chrono>
#include <iterator>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/error.h"
#include "base/steady_time.h"

namespace imagesearch::index {
namespace {
constexpr int64_t kNever = std::numeric_limits<int64_t>::max();

// The largest segment's; null: it has none, or there are no segments.
std::shared_ptr<const ListGuide> GuideOf(const View& view) {
  const auto largest =
      std::max_element(view.segments.begin(), view.segments.end(),
                       [](const SegmentPart& a, const SegmentPart& b) { return a.live < b.live; });
  return largest == view.segments.end() ? nullptr : largest->segment->index().guide();
}

}  // namespace

uint64_t StoredBytes(absl::string_view id, const records::Item& item, int dimension) {
  constexpr uint64_t kFixed = 32;  // slot, version, expiry, lengths
  return kFixed + 2 * id.size() + uint64_t{sizeof(float)} * dimension + item.content_hash().size() +
         item.metadata().ByteSizeLong() + item.source_uri().size() + item.original_bytes();
}

CollectionState::CollectionState(uint32_t id, CollectionOptions options)
    : id(id), options(std::move(options)), next_expiry_(kNever), current_(this->options) {
  view_ = std::make_shared<View>();
}

CollectionOptions CollectionState::current() const {
  MutexLock lock(&current_mutex_);
  return current_;
}

void CollectionState::SetCurrent(CollectionOptions options) {
  MutexLock lock(&current_mutex_);
  current_ = std::move(options);
}

void CollectionState::LoadItem(absl::string_view id, const records::Item& item) {
  MutexLock lock(&apply_mutex_);
  fields_->Add(item.slot(), id, item.metadata());
  duplicates.Add(item.slot(), StoredIdentity::Of(item).view());
  SetExpiry(item.slot(), item.expire_unix_micros());
}

void CollectionState::LoadSegment(std::shared_ptr<const Segment> segment, const Bitmap& live) {
  MutexLock lock(&apply_mutex_);
  if (loading_ == nullptr) loading_ = std::make_shared<View>();
  const uint32_t rows = segment->rows();
  loading_->segments.push_back({segment, nullptr, rows});
  loading_->live += rows;
  for (uint32_t row = 0; row < rows; ++row) {
    if (!live.contains(segment->slot(row))) Kill(loading_.get(), segment->slot(row));
  }
}

void CollectionState::LoadTailRow(uint32_t slot, absl::string_view id,
                                  const std::vector<float>& vector) {
  MutexLock lock(&apply_mutex_);
  if (loading_ == nullptr) loading_ = std::make_shared<View>();
  Append(loading_.get(), slot, id, vector);
}

void CollectionState::FinishLoad(uint64_t version, StoreSnapshot snapshot) {
  MutexLock lock(&apply_mutex_);
  if (loading_ == nullptr) loading_ = std::make_shared<View>();
  loading_->version = version;
  loading_->snapshot = std::move(snapshot);
  Publish(std::move(loading_));
  loading_ = nullptr;
}

std::shared_ptr<const View> CollectionState::view() const {
  MutexLock lock(&view_mutex_);
  return view_;
}

CollectionState::Reading CollectionState::Evaluate(
    const std::vector<const Filter*>& filters) const {
  Reading reading;
  reading.view = view();
  for (const Filter* filter : filters) {
    reading.allowed.push_back(
        filter->matches_all() ? nullptr : std::make_shared<SlotSet>(fields_->Evaluate(*filter)));
  }
  return reading;
}

CollectionState::Reading CollectionState::Read(const std::vector<const Filter*>& filters) const {
  const bool any = std::any_of(filters.begin(), filters.end(),
                               [](const Filter* filter) { return !filter->matches_all(); });
  if (!any) return Evaluate(filters);
  for (int attempt = 0; attempt < 3; ++attempt) {
    const uint64_t before = change_sequence_.load();
    if (before % 2 != 0) continue;
    Reading reading = Evaluate(filters);
    if (change_sequence_.load() == before) return reading;
  }
  MutexLock lock(&apply_mutex_);
  return Evaluate(filters);
}

void CollectionState::Publish(std::shared_ptr<const View> view) {
  MutexLock lock(&view_mutex_);
  view_.swap(view);
}

void CollectionState::Apply(std::vector<MemoryChange> changes, uint64_t version,
                            StoreSnapshot snapshot) {
  MutexLock lock(&apply_mutex_);
  change_sequence_.fetch_add(1);
  auto next = std::make_shared<View>(*view());
  for (MemoryChange& change : changes) {
    stored_bytes.fetch_add(change.stored_bytes);
    if (changed_ && !too_many_changed_) {
      changed_->insert(change.id);
      if ((too_many_changed_ = changed_->size() > kMaxChanged)) changed_->clear();
    }
    if (change.removed_slot) {
      fields_->Remove(*change.removed_slot, change.id, change.old_metadata);
      if (keywords_ != nullptr) keywords_->Remove(*change.removed_slot, change.old_metadata);
      duplicates.Remove(*change.removed_slot, change.old_identity.view());
      Kill(next.get(), *change.removed_slot);
      SetExpiry(*change.removed_slot, 0);
    }
    if (change.updated_slot) {
      fields_->Remove(*change.updated_slot, change.id, change.old_metadata);
      fields_->Add(*change.updated_slot, change.id, change.metadata);
      if (keywords_ != nullptr) {
        keywords_->Remove(*change.updated_slot, change.old_metadata);
        keywords_->Add(*change.updated_slot, change.metadata);
      }
      SetExpiry(*change.updated_slot, change.expire_micros);
    }
    if (change.added_slot) {
      fields_->Add(*change.added_slot, change.id, change.metadata);
      if (keywords_ != nullptr) keywords_->Add(*change.added_slot, change.metadata);
      duplicates.Add(*change.added_slot, change.identity.view());
      Append(next.get(), *change.added_slot, change.id, change.vector);
      SetExpiry(*change.added_slot, change.expire_micros);
    }
  }
  next->version = version;
  next->snapshot = std::move(snapshot);
  Publish(std::move(next));
  change_sequence_.fetch_add(1);
}

void CollectionState::TrackChanges(bool on) {
  MutexLock lock(&apply_mutex_);
  changed_.reset();
  if (on) changed_.emplace();
  too_many_changed_ = false;
}

std::optional<std::vector<std::string>> CollectionState::TakeChanged() {
  MutexLock lock(&apply_mutex_);
  if (!changed_ || std::exchange(too_many_changed_, false)) return std::nullopt;
  std::vector<std::string> ids(changed_->begin(), changed_->end());
  changed_->clear();
  return ids;
}

bool CollectionState::HasChanged() const {
  MutexLock lock(&apply_mutex_);
  return !changed_ || too_many_changed_ || !changed_->empty();
}

void CollectionState::HoldWrites(absl::Time until) {
  MutexLock lock(&hold_mutex_);
  hold_until_ = until;
  hold_changed_.SignalAll();
}

void CollectionState::AwaitWrites() {
  MutexLock lock(&hold_mutex_);
  for (absl::Time now = SteadyNow(); now < hold_until_; now = SteadyNow()) {
    hold_changed_.WaitUntil(&hold_mutex_,
                            CondVar::Clock::now() + absl::ToChronoNanoseconds(hold_until_ - now));
  }
}

bool CollectionState::Kill(View* view, uint32_t slot) {
  auto segment = std::upper_bound(
      view->segments.begin(), view->segments.end(), slot,
      [](uint32_t s, const SegmentPart& part) { return s < part.segment->end_slot(); });
  if (segment != view->segments.end()) {
    std::optional<uint32_t> row = segment->segment->RowOfSlot(slot);
    if (!row || !segment->IsAlive(*row)) return false;
    // A bitmap that this batch copied already has one owner: this view.
    std::shared_ptr<std::vector<uint64_t>> alive;
    if (segment->alive == nullptr) {
      alive = std::make_shared<std::vector<uint64_t>>((segment->segment->rows() + 63) / 64,
                                                      ~uint64_t{0});
      if (uint32_t rest = segment->segment->rows() % 64) {
        alive->back() = (uint64_t{1} << rest) - 1;
      }
    } else if (segment->alive.use_count() == 1) {
      alive = std::const_pointer_cast<std::vector<uint64_t>>(segment->alive);
    } else {
      alive = std::make_shared<std::vector<uint64_t>>(*segment->alive);
    }
    (*alive)[*row >> 6] &= ~(uint64_t{1} << (*row & 63));
    segment->alive = std::move(alive);
    --segment->live;
    --view->live;
    return true;
  }
  auto part = std::upper_bound(view->tail.begin(), view->tail.end(), slot,
                               [](uint32_t s, const TailPart& p) { return s < p.chunk->slots[0]; });
  if (part == view->tail.begin()) return false;
  --part;
  const uint32_t* begin = part->chunk->slots.data();
  const uint32_t* at = std::lower_bound(begin, begin + part->rows, slot);
  if (at == begin + part->rows || *at != slot) return false;
  const auto row = static_cast<uint32_t>(at - begin);
  if (!part->IsAlive(row)) return false;
  part->alive[row >> 6] &= ~(uint64_t{1} << (row & 63));
  --view->live;
  return true;
}

void CollectionState::Append(View* view, uint32_t slot, absl::string_view id,
                             const std::vector<float>& vector) {
  if (open_chunk_ == nullptr || view->tail.empty() || view->tail.back().chunk != open_chunk_ ||
      view->tail.back().rows == TailChunk::kRows) {
    open_chunk_ = std::make_shared<TailChunk>(options.dimension, GuideOf(*view));
    view->tail.push_back({open_chunk_, 0, {}});
  }
  TailPart& part = view->tail.back();
  std::copy(vector.begin(), vector.end(),
            open_chunk_->vectors.get() + size_t{part.rows} * options.dimension);
  open_chunk_->codes.Set(part.rows, vector.data());
  if (open_chunk_->guide != nullptr) {
    open_chunk_->lists[part.rows] = open_chunk_->guide->ListOf(vector.data());
  }
  open_chunk_->slots[part.rows] = slot;
  open_chunk_->ids[part.rows] = std::string(id);
  part.alive[part.rows >> 6] |= uint64_t{1} << (part.rows & 63);
  ++part.rows;
  ++view->live;
}

void CollectionState::SetExpiry(uint32_t slot, int64_t expire_micros) {
  auto known = expiry_of_slot_.find(slot);
  if (known != expiry_of_slot_.end()) {
    expiries_.erase({known->second, slot});
    expiry_of_slot_.erase(known);
  }
  if (expire_micros != 0) {
    expiries_.insert({expire_micros, slot});
    expiry_of_slot_[slot] = expire_micros;
  }
  next_expiry_.store(expiries_.empty() ? kNever : expiries_.begin()->first);
}

void CollectionState::HideExpired(int64_t now_micros) {
  if (now_micros < next_expiry_.load()) return;
  MutexLock lock(&apply_mutex_);
  auto next = std::make_shared<View>(*view());
  while (!expiries_.empty() && expiries_.begin()->first <= now_micros) {
    const uint32_t slot = expiries_.begin()->second;
    // The field index keeps the slot until the image is deleted: a dead row is masked anyway.
    if (Kill(next.get(), slot)) expired_.emplace_back(next->Find(slot)->id);
    SetExpiry(slot, 0);
  }
  Publish(std::move(next));
}

std::vector<std::string> CollectionState::TakeExpired() {
  MutexLock lock(&apply_mutex_);
  return std::exchange(expired_, {});
}

void CollectionState::ReturnExpired(std::vector<std::string> ids) {
  MutexLock lock(&apply_mutex_);
  expired_.insert(expired_.end(), std::make_move_iterator(ids.begin()),
                  std::make_move_iterator(ids.end()));
}

std::shared_ptr<const View> CollectionState::SealTail() {
  MutexLock lock(&apply_mutex_);
  open_chunk_ = nullptr;
  return view();
}

void CollectionState::InstallSegment(std::shared_ptr<const Segment> segment, uint32_t first_slot,
                                     uint32_t end_slot) {
  MutexLock lock(&apply_mutex_);
  const std::shared_ptr<const View> old = view();
  auto next = std::make_shared<View>();
  next->version = old->version;
  next->snapshot = old->snapshot;
  SegmentPart built{segment, nullptr, 0};
  auto alive =
      std::make_shared<std::vector<uint64_t>>(segment == nullptr ? 0 : (segment->rows() + 63) / 64);
  // Live slots of the replaced parts and rows of the segment ascend together; a live slot has a
  // row.
  uint32_t row = 0;
  auto keep = [&](uint32_t slot) {
    while (segment->slot(row) < slot) ++row;
    (*alive)[row >> 6] |= uint64_t{1} << (row & 63);
    ++built.live;
  };
  for (const SegmentPart& part : old->segments) {
    if (part.segment->first_slot() < first_slot || part.segment->first_slot() >= end_slot) continue;
    for (uint32_t r = 0; r < part.segment->rows(); ++r) {
      if (part.IsAlive(r)) keep(part.segment->slot(r));
    }
  }
  for (const TailPart& part : old->tail) {
    if (part.chunk->slots[0] >= end_slot) {
      next->tail.push_back(part);
      continue;
    }
    for (uint32_t r = 0; r < part.rows; ++r) {
      if (part.IsAlive(r)) keep(part.chunk->slots[r]);
    }
  }
  if (segment != nullptr && built.live < segment->rows()) built.alive = std::move(alive);
  for (const SegmentPart& part : old->segments) {
    if (part.segment->first_slot() < first_slot) next->segments.push_back(part);
  }
  if (built.live > 0) next->segments.push_back(std::move(built));
  for (const SegmentPart& part : old->segments) {
    if (part.segment->first_slot() >= end_slot) next->segments.push_back(part);
  }
  next->live = old->live;
  Publish(std::move(next));
}

void CollectionState::Clear() {
  DropKeywords();
  MutexLock lock(&apply_mutex_);
  open_chunk_ = nullptr;
  fields_ = std::make_unique<FieldIndex>();
  duplicates.Clear();
  expiries_.clear();
  expiry_of_slot_.clear();
  expired_.clear();
  next_expiry_.store(kNever);
  stored_bytes.store(0);
  too_many_changed_ = true;  // a write that seemed to fail may have reached the log
  Publish(std::make_shared<View>());
}

void CollectionState::Retire() {
  DropKeywords();
  deleted.store(true);
  MutexLock lock(&apply_mutex_);
  duplicates.Clear();
  open_chunk_ = nullptr;
  Publish(std::make_shared<View>());
}

absl::StatusOr<std::shared_ptr<const KeywordIndex>> CollectionState::Keywords(
    const FillKeywords& fill) {
  {
    MutexLock lock(&keyword_mutex_);
    const auto until = CondVar::Clock::now() + std::chrono::seconds(1);
    while (making_keywords_) {
      if (keywords_made_.WaitUntil(&keyword_mutex_, until) || !making_keywords_) continue;
      return Error(absl::StatusCode::kUnavailable, "KEYWORDS_NOT_READY",
                   absl::StrCat("collection '", options.name,
                                "': the words of its metadata are being indexed; retry"));
    }
    if (full_keywords_ != nullptr) return full_keywords_;
    making_keywords_ = true;
  }
  const auto index = std::make_shared<KeywordIndex>();
  std::shared_ptr<const View> from;
  {
    MutexLock lock(&apply_mutex_);
    keywords_ = index;
    from = view();
  }
  absl::Status status = fill(*from, index.get());
  index->FinishFill();
  {
    MutexLock lock(&apply_mutex_);
    if (!status.ok() && keywords_ == index) keywords_ = nullptr;
  }
  MutexLock lock(&keyword_mutex_);
  making_keywords_ = false;
  if (status.ok()) full_keywords_ = index;
  keywords_made_.SignalAll();
  if (!status.ok()) return status;
  return full_keywords_;
}

void CollectionState::DropKeywords() {
  {
    MutexLock lock(&keyword_mutex_);
    full_keywords_ = nullptr;
  }
  MutexLock lock(&apply_mutex_);
  keywords_ = nullptr;
}

uint64_t CollectionState::memory_bytes() const {
  const std::shared_ptr<const View> now = view();
  uint64_t bytes = fields_->memory_bytes() + duplicates.memory_bytes();
  {
    MutexLock lock(&apply_mutex_);
    if (keywords_ != nullptr) bytes += keywords_->memory_bytes();
  }
  for (const SegmentPart& part : now->segments) {
    bytes += part.segment->index().memory_bytes();
    if (part.alive != nullptr) bytes += part.alive->size() * sizeof(uint64_t);
  }
  for (const TailPart& part : now->tail) {
    bytes += sizeof(TailChunk) + uint64_t{TailChunk::kRows} * options.dimension * sizeof(float) +
             part.chunk->codes.memory_bytes();
  }
  return bytes;
}

}  // namespace imagesearch::index
