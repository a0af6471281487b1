#include "index/store/duplicate_index.h"

#include <algorithm>
#include <string>

#include "absl/strings/numbers.h"

namespace imagesearch::index {
namespace {

// The first 64 bits of a hash in hex.
uint64_t ContentKey(absl::string_view content_hash) {
  uint64_t key = 0;
  return absl::SimpleHexAtoi(content_hash.substr(0, 16), &key) ? key : 0;
}

}  // namespace

DuplicateTier TierOf(const ImageIdentity& a, const ImageIdentity& b, float cosine,
                     DuplicateTier tier, float look_alike) {
  if (tier >= DuplicateTier::kSameBytes && !a.content_hash.empty() &&
      a.content_hash == b.content_hash) {
    return DuplicateTier::kSameBytes;
  }
  if (tier >= DuplicateTier::kSamePicture && a.perceptual_hash && b.perceptual_hash &&
      IsSamePicture(HammingDistance(*a.perceptual_hash, *b.perceptual_hash), cosine)) {
    return DuplicateTier::kSamePicture;
  }
  if (tier >= DuplicateTier::kLookAlike && cosine >= look_alike) return DuplicateTier::kLookAlike;
  return DuplicateTier::kNone;
}

void DuplicateIndex::Add(uint32_t slot, const ImageIdentity& identity) {
  MutexLock lock(&mutex_);
  if (!identity.content_hash.empty()) {
    by_content_[ContentKey(identity.content_hash)].push_back(slot);
  }
  if (identity.perceptual_hash) by_picture_.Add(slot, *identity.perceptual_hash);
}

void DuplicateIndex::Remove(uint32_t slot, const ImageIdentity& identity) {
  MutexLock lock(&mutex_);
  if (!identity.content_hash.empty()) {
    auto found = by_content_.find(ContentKey(identity.content_hash));
    if (found != by_content_.end()) {
      auto& slots = found->second;
      slots.erase(std::remove(slots.begin(), slots.end(), slot), slots.end());
      if (slots.empty()) by_content_.erase(found);
    }
  }
  if (identity.perceptual_hash) by_picture_.Remove(slot, *identity.perceptual_hash);
}

void DuplicateIndex::Clear() {
  MutexLock lock(&mutex_);
  by_content_.clear();
  by_picture_ = {};
}

std::vector<uint32_t> DuplicateIndex::Find(const ImageIdentity& identity, DuplicateTier tier,
                                           size_t most) const {
  std::vector<uint32_t> slots;
  MutexLock lock(&mutex_);
  if (tier >= DuplicateTier::kSameBytes && !identity.content_hash.empty()) {
    auto found = by_content_.find(ContentKey(identity.content_hash));
    if (found != by_content_.end()) {
      const size_t count = std::min(most, found->second.size());
      slots.assign(found->second.begin(), found->second.begin() + static_cast<ptrdiff_t>(count));
    }
  }
  if (tier >= DuplicateTier::kSamePicture && identity.perceptual_hash) {
    by_picture_.Find(*identity.perceptual_hash, kSamePictureBits,
                     [&](uint32_t slot, int /*distance*/) {
                       if (slots.size() >= most) return false;
                       slots.push_back(slot);
                       return true;
                     });
  }
  std::sort(slots.begin(), slots.end());
  slots.erase(std::unique(slots.begin(), slots.end()), slots.end());
  return slots;
}

uint64_t DuplicateIndex::memory_bytes() const {
  MutexLock lock(&mutex_);
  return by_picture_.memory_bytes() +
         by_content_.capacity() * (sizeof(uint64_t) + sizeof(absl::InlinedVector<uint32_t, 2>) + 1);
}

}  // namespace imagesearch::index
