// Postings of strings.
#include "index/filter/string_dictionary.h"

#include <algorithm>
#include <utility>

#include "absl/strings/match.h"

namespace imagesearch::index {
namespace {

// Of one string: its tree entry and, past the size that std::string holds inside, its heap block.
uint64_t EntryBytes(absl::string_view text) {
  return 64 + (text.size() > 15 ? text.size() + 17 : 0);
}

}  // namespace

uint64_t StringDictionary::Slots::Add(uint32_t slot) {
  if (bitmap_ != nullptr) {
    bitmap_->add(slot);
    return 2;
  }
  if (slot == only_) return 0;
  bitmap_ = std::make_unique<Bitmap>();
  bitmap_->add(only_);
  bitmap_->add(slot);
  return 160;
}

bool StringDictionary::Slots::Remove(uint32_t slot) {
  if (bitmap_ == nullptr) return slot == only_;
  bitmap_->remove(slot);
  return bitmap_->isEmpty();
}

void StringDictionary::Slots::Collect(SlotCollector& out) const {
  if (bitmap_ == nullptr) {
    out.Add(only_);
  } else {
    out.Add(*bitmap_);
  }
}

uint64_t StringDictionary::Slots::CountIn(const Bitmap& among) const {
  if (bitmap_ == nullptr) return among.contains(only_) ? 1 : 0;
  return among.and_cardinality(*bitmap_);
}

void StringDictionary::Add(absl::string_view text, uint32_t slot) {
  const auto it = strings_.find(text);
  if (it != strings_.end()) {
    bytes_ += it->second.Add(slot);
    return;
  }
  strings_.emplace(std::string(text), Slots(slot));
  bytes_ += EntryBytes(text);
}

void StringDictionary::Remove(absl::string_view text, uint32_t slot) {
  const auto it = strings_.find(text);
  if (it == strings_.end() || !it->second.Remove(slot)) return;
  bytes_ -= std::min(bytes_, EntryBytes(text));
  strings_.erase(it);
  if (strings_.empty()) bytes_ = 0;
}

void StringDictionary::Equal(absl::string_view text, SlotCollector& out) const {
  const auto it = strings_.find(text);
  if (it != strings_.end()) it->second.Collect(out);
}

void StringDictionary::Match(const Pattern& pattern, SlotCollector& out) const {
  for (auto it = strings_.lower_bound(pattern.prefix);
       it != strings_.end() && absl::StartsWith(it->first, pattern.prefix); ++it) {
    if (pattern.Matches(it->first)) it->second.Collect(out);
  }
}

void StringDictionary::Count(const Bitmap& among,
                             absl::FunctionRef<void(absl::string_view, uint64_t)> visit) const {
  for (const auto& [text, slots] : strings_) visit(text, slots.CountIn(among));
}

void StringDictionary::Ordered(FilterOp op, absl::string_view text, SlotCollector& out) const {
  const bool above = op == FilterOp::kGreater || op == FilterOp::kGreaterEqual;
  const bool after_equal = op == FilterOp::kGreater || op == FilterOp::kLessEqual;
  const auto bound = after_equal ? strings_.upper_bound(text) : strings_.lower_bound(text);
  const auto last = above ? strings_.end() : bound;
  for (auto it = above ? bound : strings_.begin(); it != last; ++it) it->second.Collect(out);
}

}  // namespace imagesearch::index
