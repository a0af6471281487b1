// Which slots of a collection may hold a duplicate of an upload: by the hash of the bytes, and by
// the perceptual hash. In memory, derived from the items.
#ifndef IMAGESEARCH_INDEX_STORE_DUPLICATE_INDEX_H_
#define IMAGESEARCH_INDEX_STORE_DUPLICATE_INDEX_H_

#include <cstdint>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/container/inlined_vector.h"
#include "base/mutex.h"
#include "index/duplicates.h"
#include "index/store/multi_index_hash.h"

namespace imagesearch::index {

// Thread-safe. About 80 bytes for each image that has both hashes.
class DuplicateIndex {
 public:
  void Add(uint32_t slot, const ImageIdentity& identity);
  // With the identity that the slot was added with.
  void Remove(uint32_t slot, const ImageIdentity& identity);
  void Clear();

  // Slots of images with these bytes (by 64 bits of the hash: to be confirmed), or whose perceptual
  // hash is at most kSamePictureBits away; `tier` says up to which to look. At most `most`.
  std::vector<uint32_t> Find(const ImageIdentity& identity, DuplicateTier tier, size_t most) const;

  uint64_t memory_bytes() const;

 private:
  mutable Mutex mutex_;
  absl::flat_hash_map<uint64_t, absl::InlinedVector<uint32_t, 2>> by_content_
      ABSL_GUARDED_BY(mutex_);
  MultiIndexHash by_picture_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_DUPLICATE_INDEX_H_
