#include "index/store/multi_index_hash.h"

#include <utility>

namespace imagesearch::index {
namespace {

constexpr size_t kScannedCodes = 4096;  // up to here a scan is as fast

// The masks of a quarter by the number of their bits: all of at most 3.
const std::vector<uint16_t>& Masks(int bits) {
  static const std::array<std::vector<uint16_t>, 4>* masks = [] {
    auto* made = new std::array<std::vector<uint16_t>, 4>();
    for (uint32_t mask = 0; mask < 1 << 16; ++mask) {
      const int count = __builtin_popcount(mask);
      if (count <= 3) (*made)[count].push_back(static_cast<uint16_t>(mask));
    }
    return made;
  }();
  return (*masks)[bits];
}

}  // namespace

void MultiIndexHash::Link(uint32_t entry) {
  for (int part = 0; part < kParts; ++part) {
    uint32_t& head = heads_[part][Part(codes_[entry], part)];
    next_[entry][part] = head;
    head = entry;
  }
}

void MultiIndexHash::Rebuild() {
  size_t kept = 0;
  for (size_t i = 0; i < codes_.size(); ++i) {
    if (keys_[i] == kNoKey) continue;
    codes_[kept] = codes_[i];
    keys_[kept++] = keys_[i];
  }
  codes_.resize(kept);
  keys_.resize(kept);
  removed_ = 0;
  next_.clear();
  for (auto& heads : heads_) heads.clear();
  if (kept <= kScannedCodes) return;
  for (auto& heads : heads_) heads.assign(kBuckets, kEnd);
  next_.resize(kept);
  for (uint32_t entry = 0; entry < kept; ++entry) Link(entry);
}

void MultiIndexHash::Add(uint32_t key, uint64_t code) {
  codes_.push_back(code);
  keys_.push_back(key);
  if (next_.empty()) {
    if (codes_.size() > kScannedCodes) Rebuild();
    return;
  }
  next_.emplace_back();
  Link(static_cast<uint32_t>(codes_.size() - 1));
}

void MultiIndexHash::Remove(uint32_t key, uint64_t code) {
  uint32_t found = kEnd;
  if (next_.empty()) {
    for (uint32_t i = 0; i < keys_.size() && found == kEnd; ++i) {
      if (keys_[i] == key && codes_[i] == code) found = i;
    }
  } else {
    found = heads_[0][Part(code, 0)];
    while (found != kEnd && (keys_[found] != key || codes_[found] != code)) {
      found = next_[found][0];
    }
  }
  if (found == kEnd) return;
  keys_[found] = kNoKey;
  if (++removed_ > 64 && removed_ > codes_.size() / 2) Rebuild();
}

void MultiIndexHash::Find(uint64_t code, int radius,
                          const std::function<bool(uint32_t key, int distance)>& visit) const {
  if (next_.empty()) {
    for (size_t i = 0; i < codes_.size(); ++i) {
      const int distance = HammingDistance(codes_[i], code);
      if (keys_[i] != kNoKey && distance <= radius && !visit(keys_[i], distance)) return;
    }
    return;
  }
  // Proposition 2 of the paper: with r = 4 s + a, either one of the first a + 1 quarters differs in
  // at most s bits, or one of the others in at most s - 1.
  const auto radius_of = [radius](int part) {
    return part <= radius % kParts ? radius / kParts : radius / kParts - 1;
  };
  for (int part = 0; part < kParts; ++part) {
    for (int bits = 0; bits <= radius_of(part); ++bits) {
      for (const uint16_t mask : Masks(bits)) {
        uint32_t entry = heads_[part][Part(code, part) ^ mask];
        for (; entry != kEnd; entry = next_[entry][part]) {
          if (keys_[entry] == kNoKey) continue;
          const uint64_t differing = codes_[entry] ^ code;
          const int distance = __builtin_popcountll(differing);
          if (distance > radius) continue;
          // Met before, in the chains of an earlier quarter.
          bool met = false;
          for (int before = 0; before < part && !met; ++before) {
            met = __builtin_popcount(Part(differing, before)) <= radius_of(before);
          }
          if (!met && !visit(keys_[entry], distance)) return;
        }
      }
    }
  }
}

uint64_t MultiIndexHash::memory_bytes() const {
  uint64_t bytes = codes_.capacity() * sizeof(uint64_t) + keys_.capacity() * sizeof(uint32_t) +
                   next_.capacity() * sizeof(next_[0]);
  for (const auto& heads : heads_) bytes += heads.capacity() * sizeof(uint32_t);
  return bytes;
}

}  // namespace imagesearch::index
