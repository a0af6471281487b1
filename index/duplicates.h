// What counts as a duplicate, and how a collection reports them.
//
// Three tiers, each taking in those before it:
//   same bytes     equal SHA-256 of the upload
//   same picture   perceptual hashes at most kSurePictureBits apart; or at most kSamePictureBits,
//   and
//                  vectors whose cosine is at least kSamePictureCosine
//   look-alike     cosine at least a threshold
// Where the numbers come from: docs/duplicates.md.
#ifndef IMAGESEARCH_INDEX_DUPLICATES_H_
#define IMAGESEARCH_INDEX_DUPLICATES_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace imagesearch::index {

inline constexpr int kSurePictureBits = 6;
inline constexpr int kSamePictureBits = 12;
inline constexpr float kSamePictureCosine = 0.6f;
inline constexpr float kLookAlikeCosine = 0.95f;

enum class DuplicateTier { kNone = 0, kSameBytes = 1, kSamePicture = 2, kLookAlike = 3 };

enum class OnDuplicate { kKeep, kSkip, kReport };

// Whether two pictures with hashes `bits` apart and vectors of this cosine are the same picture.
inline bool IsSamePicture(int bits, float cosine) {
  return bits <= kSurePictureBits || (bits <= kSamePictureBits && cosine >= kSamePictureCosine);
}

// What is compared of an image.
struct ImageIdentity {
  absl::string_view content_hash;  // hex SHA-256 of the upload; empty: none
  std::optional<uint64_t> perceptual_hash;
};

// The first tier that holds between two images whose vectors have this cosine; kNone where none
// does up to `tier`.
DuplicateTier TierOf(const ImageIdentity& a, const ImageIdentity& b, float cosine,
                     DuplicateTier tier, float look_alike = kLookAlikeCosine);

// A stored image that is a duplicate of another.
struct DuplicateRef {
  std::string id;
  DuplicateTier tier = DuplicateTier::kNone;
  float score = 0;  // cosine of the two vectors
};

struct DuplicatesQuery {
  std::string filter;
  DuplicateTier tier = DuplicateTier::kSamePicture;
  float look_alike = kLookAlikeCosine;  // in (0, 1]
};

// The first image is the one whose content was stored first; tier and score of the others are with
// respect to it.
struct DuplicateGroup {
  uint64_t number = 0;  // from 1
  uint64_t size = 0;    // images in the group
  std::vector<DuplicateRef>
      images;  // at most 1,000 of them; the rest follows under the same number
};

struct DuplicatesSummary {
  uint64_t images = 0;
  uint64_t groups = 0;
  uint64_t duplicates = 0;  // images beyond the first of each group
  uint64_t version = 0;
};

class DuplicatesVisitor {
 public:
  virtual ~DuplicatesVisitor() = default;
  // Now and then while images are compared.
  virtual absl::Status OnProgress(uint64_t examined, uint64_t total) = 0;
  virtual absl::Status OnGroup(DuplicateGroup group) = 0;
};

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_DUPLICATES_H_
