// Range search over 64-bit codes by Hamming distance, exact and without comparing all (Norouzi,
// Punjani and Fleet 2012, "Fast search in Hamming space with multi-index hashing"): of four
// quarters of two codes at most r bits apart, one differs in at most r / 4 bits, so only codes that
// share such a quarter are compared.
#ifndef IMAGESEARCH_INDEX_STORE_MULTI_INDEX_HASH_H_
#define IMAGESEARCH_INDEX_STORE_MULTI_INDEX_HASH_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

namespace imagesearch::index {

inline int HammingDistance(uint64_t a, uint64_t b) { return __builtin_popcountll(a ^ b); }

// Not thread-safe. 28 bytes for each code, and 1 MiB once there are more than a few thousand; below
// that all codes are compared.
class MultiIndexHash {
 public:
  // `key`: the caller's, not kNoKey; may be there once.
  void Add(uint32_t key, uint64_t code);
  // Of what was added; nothing happens when it wasn't.
  void Remove(uint32_t key, uint64_t code);

  // Calls `visit` for each code at most `radius` (0 to 15) bits away, in no order, until it answers
  // false.
  void Find(uint64_t code, int radius,
            const std::function<bool(uint32_t key, int distance)>& visit) const;

  size_t size() const { return codes_.size() - removed_; }
  uint64_t memory_bytes() const;

 private:
  static constexpr int kParts = 4;
  static constexpr uint32_t kEnd = UINT32_MAX;    // of a chain
  static constexpr uint32_t kNoKey = UINT32_MAX;  // a removed entry
  static constexpr size_t kBuckets = 1 << 16;

  static uint32_t Part(uint64_t code, int part) {
    return static_cast<uint32_t>(code >> (16 * part) & 0xFFFF);
  }
  void Link(uint32_t entry);
  void Rebuild();

  std::vector<uint64_t> codes_;
  std::vector<uint32_t> keys_;
  size_t removed_ = 0;
  // Once there are many: chains of entries by each quarter of their code.
  std::array<std::vector<uint32_t>, kParts> heads_;  // kBuckets each, or empty
  std::vector<std::array<uint32_t, kParts>> next_;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_MULTI_INDEX_HASH_H_
