#include "index/rank/collapse.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_map.h"
#include "index/store/dot.h"
#include "index/store/multi_index_hash.h"

namespace imagesearch::index {
namespace {

float Cosine(const Hit& a, const Hit& b) {
  if (a.vector.empty() || a.vector.size() != b.vector.size()) return 0;
  return std::clamp(Dot(a.vector.data(), b.vector.data(), static_cast<int>(a.vector.size())), -1.0f,
                    1.0f);
}

// The hits that stay, so that a later one finds what it duplicates.
class Kept {
 public:
  explicit Kept(DuplicateTier tier) : tier_(tier) {}

  // The place of the hit, and the tier; kNone: it stays.
  std::pair<size_t, DuplicateTier> Find(const Hit& hit) const {
    if (!hit.content_hash.empty()) {
      auto same = by_content_.find(hit.content_hash);
      if (same != by_content_.end()) return {same->second, DuplicateTier::kSameBytes};
    }
    size_t best = SIZE_MAX;
    if (tier_ >= DuplicateTier::kSamePicture && hit.perceptual_hash) {
      by_picture_.Find(*hit.perceptual_hash, kSamePictureBits, [&](uint32_t place, int bits) {
        if (place < best && IsSamePicture(bits, Cosine(*hits_[place], hit))) best = place;
        return true;
      });
      if (best != SIZE_MAX) return {best, DuplicateTier::kSamePicture};
    }
    if (tier_ >= DuplicateTier::kLookAlike) {
      for (size_t i = 0; i < std::min(hits_.size(), CollapsePass::kCompared); ++i) {
        if (Cosine(*hits_[i], hit) >= kLookAlikeCosine) return {i, DuplicateTier::kLookAlike};
      }
    }
    return {0, DuplicateTier::kNone};
  }

  // `hit` must stay where it is.
  void Add(const Hit& hit) {
    const size_t place = hits_.size();
    hits_.push_back(&hit);
    if (!hit.content_hash.empty()) by_content_.emplace(hit.content_hash, place);
    if (hit.perceptual_hash) by_picture_.Add(static_cast<uint32_t>(place), *hit.perceptual_hash);
  }

 private:
  const DuplicateTier tier_;
  std::vector<const Hit*> hits_;
  absl::flat_hash_map<absl::string_view, size_t> by_content_;
  MultiIndexHash by_picture_;
};

}  // namespace

absl::Status CollapsePass::Run(Ranking* ranking) {
  if (tier_ == DuplicateTier::kNone) return absl::OkStatus();
  Kept kept(tier_);
  std::vector<size_t> staying;  // places in ranking->hits
  for (size_t i = 0; i < ranking->hits.size(); ++i) {
    RankedHit& next = ranking->hits[i];
    const auto [place, tier] = kept.Find(next.hit);
    if (tier == DuplicateTier::kNone) {
      kept.Add(next.hit);
      staying.push_back(i);
      continue;
    }
    std::vector<DuplicateRef>& folded = ranking->hits[staying[place]].duplicates;
    if (folded.size() < kMaxFolded) folded.push_back({next.hit.id, tier, next.hit.score});
  }
  std::vector<RankedHit> hits;
  for (size_t i : staying) hits.push_back(std::move(ranking->hits[i]));
  ranking->hits = std::move(hits);
  return absl::OkStatus();
}

}  // namespace imagesearch::index
