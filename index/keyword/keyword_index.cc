#include "index/keyword/keyword_index.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/container/btree_map.h"
#include "absl/container/flat_hash_map.h"
#include "base/shared_mutex.h"
#include "index/filter/bitmap.h"
#include "index/filter/field_key.h"
#include "index/keyword/words.h"

namespace imagesearch::index {
namespace {

using google::protobuf::Struct;
using google::protobuf::Value;

constexpr double kK1 = 1.2;
constexpr double kB = 0.75;
constexpr uint64_t kBytesPerWord = 112;  // of a word's entry, beside its postings
constexpr uint64_t kBytesPerPosting = 16;

// Words of one image: (field key, word) -> how often.
using Counts = std::map<std::pair<std::string, std::string>, uint32_t>;

Counts CountWords(const Struct& metadata) {
  std::map<std::string, std::vector<const std::string*>> texts;  // by field, in a steady order
  ForEachField(metadata, [&](const std::string& key, const Value& value) {
    if (value.has_string_value()) texts[key].push_back(&value.string_value());
    for (const Value& element : value.list_value().values()) {
      if (element.has_string_value()) texts[key].push_back(&element.string_value());
    }
  });
  Counts counts;
  size_t left = KeywordIndex::kMaxWords;
  for (const auto& [key, parts] : texts) {
    for (const std::string* part : parts) {
      for (std::string& word : WordsOf(*part, left)) {
        ++counts[{key, std::move(word)}];
        --left;
      }
    }
  }
  return counts;
}

uint64_t PostingKey(uint32_t slot, uint32_t field) { return uint64_t{slot} << 32 | field; }

}  // namespace

struct KeywordIndex::Impl {
  // By slot, then field: how often the word is there.
  using Postings = absl::btree_map<uint64_t, uint32_t>;
  struct Length {
    uint64_t images = 0;
    uint64_t words = 0;
    absl::flat_hash_map<uint32_t, uint32_t> of_slot;
  };

  mutable SharedMutex mutex;
  absl::flat_hash_map<std::string, Postings> words ABSL_GUARDED_BY(mutex);
  absl::flat_hash_map<std::string, uint32_t> fields ABSL_GUARDED_BY(mutex);  // number by key
  std::vector<Length> lengths ABSL_GUARDED_BY(mutex);                        // by field number
  Length all ABSL_GUARDED_BY(mutex);
  bool filling ABSL_GUARDED_BY(mutex) = true;
  Bitmap touched ABSL_GUARDED_BY(mutex);  // while filling
  uint64_t bytes ABSL_GUARDED_BY(mutex) = 0;

  static void Grow(Length& length, uint32_t slot, uint32_t by) {
    uint32_t& words = length.of_slot[slot];
    if (words == 0) ++length.images;
    words += by;
    length.words += by;
  }
  static void Shrink(Length& length, uint32_t slot, uint32_t by) {
    const auto found = length.of_slot.find(slot);
    if (found == length.of_slot.end()) return;
    const uint32_t taken = std::min(by, found->second);
    length.words -= taken;
    found->second -= taken;
    if (found->second > 0) return;
    length.of_slot.erase(found);
    --length.images;
  }

  void AddCounts(uint32_t slot, const Counts& counts) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex) {
    for (const auto& [key, count] : counts) {
      const auto [field, fresh] =
          fields.try_emplace(key.first, static_cast<uint32_t>(fields.size()));
      if (fresh) lengths.emplace_back();
      const auto [postings, fresh_word] = words.try_emplace(key.second);
      if (fresh_word) bytes += kBytesPerWord;
      bytes += kBytesPerPosting;
      postings->second[PostingKey(slot, field->second)] = count;
      Grow(lengths[field->second], slot, count);
      Grow(all, slot, count);
    }
  }
};

KeywordIndex::KeywordIndex() : impl_(std::make_unique<Impl>()) {}
KeywordIndex::~KeywordIndex() = default;

void KeywordIndex::Add(uint32_t slot, const Struct& metadata) {
  const Counts counts = CountWords(metadata);
  WriterMutexLock lock(&impl_->mutex);
  if (impl_->filling) impl_->touched.add(slot);
  impl_->AddCounts(slot, counts);
}

void KeywordIndex::Fill(uint32_t slot, const Struct& metadata) {
  const Counts counts = CountWords(metadata);
  WriterMutexLock lock(&impl_->mutex);
  if (!impl_->touched.contains(slot)) impl_->AddCounts(slot, counts);
}

void KeywordIndex::FinishFill() {
  WriterMutexLock lock(&impl_->mutex);
  impl_->filling = false;
  impl_->touched = Bitmap();
}

void KeywordIndex::Remove(uint32_t slot, const Struct& metadata) {
  const Counts counts = CountWords(metadata);
  WriterMutexLock lock(&impl_->mutex);
  if (impl_->filling) impl_->touched.add(slot);
  for (const auto& [key, count] : counts) {
    const auto field = impl_->fields.find(key.first);
    const auto postings = impl_->words.find(key.second);
    if (field == impl_->fields.end() || postings == impl_->words.end()) continue;
    if (postings->second.erase(PostingKey(slot, field->second)) == 0) continue;
    impl_->bytes -= kBytesPerPosting;
    Impl::Shrink(impl_->lengths[field->second], slot, count);
    Impl::Shrink(impl_->all, slot, count);
    if (!postings->second.empty()) continue;
    impl_->words.erase(postings);
    impl_->bytes -= kBytesPerWord;
  }
}

std::vector<KeywordMatch> KeywordIndex::Search(absl::string_view text,
                                               absl::Span<const FieldPath> fields,
                                               const std::function<bool(uint32_t slot)>& allows,
                                               size_t limit) const {
  std::vector<std::string> words = WordsOf(text, kMaxQueryWords);
  std::sort(words.begin(), words.end());
  words.erase(std::unique(words.begin(), words.end()), words.end());

  ReaderMutexLock lock(&impl_->mutex);
  std::vector<bool> chosen(impl_->lengths.size(), fields.empty());
  uint64_t images = impl_->all.images, length = impl_->all.words;
  std::vector<uint32_t> numbers;
  if (!fields.empty()) {
    images = length = 0;
    for (const FieldPath& path : fields) {
      const auto field = impl_->fields.find(FieldKey(path));
      if (field == impl_->fields.end() || chosen[field->second]) continue;
      chosen[field->second] = true;
      numbers.push_back(field->second);
      images = std::max(images, impl_->lengths[field->second].images);
      length += impl_->lengths[field->second].words;
    }
  }
  const double mean = std::max(1.0, static_cast<double>(length) / std::max<uint64_t>(images, 1));
  const auto length_of = [&](uint32_t slot) {
    impl_->mutex.AssertReaderHeld();
    if (fields.empty()) return impl_->all.of_slot.at(slot);
    uint32_t words_there = 0;
    for (const uint32_t number : numbers) {
      const auto found = impl_->lengths[number].of_slot.find(slot);
      if (found != impl_->lengths[number].of_slot.end()) words_there += found->second;
    }
    return words_there;
  };

  absl::flat_hash_map<uint32_t, double> scores;
  std::vector<std::pair<uint32_t, uint32_t>> found;  // slot, how often
  for (const std::string& word : words) {
    const auto postings = impl_->words.find(word);
    if (postings == impl_->words.end()) continue;
    found.clear();
    for (const auto& [key, count] : postings->second) {
      if (!chosen[static_cast<uint32_t>(key)]) continue;
      const auto slot = static_cast<uint32_t>(key >> 32);
      if (!found.empty() && found.back().first == slot) {
        found.back().second += count;
      } else {
        found.emplace_back(slot, count);
      }
    }
    const double n = static_cast<double>(found.size());
    const double idf = std::log(1 + (std::max<double>(images, n) - n + 0.5) / (n + 0.5));
    for (const auto& [slot, count] : found) {
      if (allows && !allows(slot)) continue;
      const double tf = count;
      scores[slot] += idf * tf * (kK1 + 1) / (tf + kK1 * (1 - kB + kB * length_of(slot) / mean));
    }
  }
  std::vector<KeywordMatch> matches;
  for (const auto& [slot, score] : scores) matches.push_back({slot, static_cast<float>(score)});
  const size_t kept = std::min(limit, matches.size());
  std::partial_sort(matches.begin(), matches.begin() + kept, matches.end(),
                    [](const KeywordMatch& a, const KeywordMatch& b) {
                      return a.score != b.score ? a.score > b.score : a.slot < b.slot;
                    });
  matches.resize(kept);
  return matches;
}

uint64_t KeywordIndex::memory_bytes() const {
  ReaderMutexLock lock(&impl_->mutex);
  uint64_t lengths = impl_->all.of_slot.size();
  for (const Impl::Length& length : impl_->lengths) lengths += length.of_slot.size();
  return sizeof(Impl) + impl_->bytes + lengths * 12;
}

}  // namespace imagesearch::index
