// Scanning lists of product-quantised codes and rescoring what they choose.
#include "index/ann/pq_search.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>

#include "index/ann/best.h"
#include "index/ann/float_scan.h"
#include "index/ann/simd.h"

namespace imagesearch::index {
namespace {

constexpr size_t kFirstPurge = 1024;
constexpr float kMaxSum = 65'535;

// Lanes [begin, end) of a block.
uint64_t Lanes(uint32_t begin, uint32_t end) {
  const uint64_t below_end = end == kPqBlock ? ~uint64_t{0} : (uint64_t{1} << end) - 1;
  return below_end & ~((uint64_t{1} << begin) - 1);
}

}  // namespace

PqSearch::PqSearch(const PqData& data, const AnnQuery& query, float slack)
    : data_(data),
      query_(query),
      slack_(slack),
      tables_(data.codes.MakeQuery(query.vector)),
      threshold_(-std::numeric_limits<float>::infinity()),
      purge_at_(std::max(kFirstPurge, 4 * static_cast<size_t>(query.k))) {
  best_.reserve(std::min<size_t>(static_cast<size_t>(query.k), 4096));
}

void PqSearch::Add(float score, uint32_t position) {
  candidates_.push_back({score, position});
  if (best_.size() < static_cast<size_t>(query_.k)) {
    best_.push_back(score);
    std::push_heap(best_.begin(), best_.end(), std::greater<>());
    if (best_.size() < static_cast<size_t>(query_.k)) return;
  } else if (score > best_.front()) {
    std::pop_heap(best_.begin(), best_.end(), std::greater<>());
    best_.back() = score;
    std::push_heap(best_.begin(), best_.end(), std::greater<>());
  } else {
    return;
  }
  threshold_ = best_.front() - slack_;
}

void PqSearch::Purge() {
  std::erase_if(candidates_, [this](const Candidate& c) { return c.score < threshold_; });
  purge_at_ = std::max(purge_at_, 2 * candidates_.size());
}

void PqSearch::Read(const Lists::Scored& list) {
  const float product = data_.codes.ListProduct(list) + tables_.base;
  const uint32_t end = data_.lists.end(list.list);
  const bool masked = query_.mask.words != nullptr;
  const auto scan = Pq().scan;
  uint16_t sums[kPqBlock];
  for (uint32_t p = data_.lists.begin(list.list); p < end;) {
    const uint32_t first = p - p % kPqBlock;
    const uint32_t last = std::min<uint64_t>(uint64_t{first} + kPqBlock, end);
    uint64_t lanes = Lanes(p - first, last - first);
    read_ += last - p;
    p = last;
    if (masked) {
      uint64_t in_mask = 0;
      for (uint64_t bits = lanes; bits != 0; bits &= bits - 1) {
        const int i = std::countr_zero(bits);
        in_mask |= uint64_t{query_.mask.Allows(data_.order[first + static_cast<uint32_t>(i)])} << i;
      }
      lanes = in_mask;
    }
    allowed_ += static_cast<uint64_t>(std::popcount(lanes));
    const float needed = std::ceil((threshold_ - product) / tables_.step);
    if (lanes == 0 || needed > kMaxSum) continue;
    const uint16_t least = needed > 0 ? static_cast<uint16_t>(needed) : 0;
    const uint64_t reached =
        scan(data_.codes.block(first), tables_.table.data(), data_.codes.columns(), least, sums);
    for (uint64_t bits = reached & lanes; bits != 0; bits &= bits - 1) {
      const int i = std::countr_zero(bits);
      Add(product + tables_.step * static_cast<float>(sums[i]), first + static_cast<uint32_t>(i));
    }
  }
  if (candidates_.size() >= purge_at_) Purge();
}

void PqSearch::Probe(uint32_t probes, uint32_t considered) {
  const auto nearest =
      data_.lists.NearestScored(data_.lists.EncodeQuery(query_.vector), probes, considered);
  for (size_t i = 0; i < nearest.size(); ++i) {
    if (i + 1 < nearest.size()) {
      const uint32_t next = data_.lists.begin(nearest[i + 1].list);
      FetchStart(data_.codes.block(next), data_.codes.block_bytes(), 1);
    }
    Read(nearest[i]);
  }
}

bool PqSearch::ProbeMasked(uint32_t probes, double share) {
  const auto nearest =
      data_.lists.NearestScored(data_.lists.EncodeQuery(query_.vector), probes, data_.lists.size());
  for (size_t i = 0; i < nearest.size(); ++i) {
    Read(nearest[i]);
    // The very nearest tell more: a mask may leave out just these.
    if (i == nearest.size() / 8 && MaskFollowsScore(share, read_, allowed_)) return false;
  }
  return !MaskFollowsScore(share, read_, allowed_);
}

float PqSearch::KthScore() const {
  if (best_.size() < static_cast<size_t>(query_.k)) {
    return -std::numeric_limits<float>::infinity();
  }
  return best_.front();
}

std::vector<Neighbor> PqSearch::Finish() {
  constexpr size_t kReadAhead = 8;
  Purge();
  const int d = data_.codes.dimension();
  const auto dot = Simd().dot_f32;
  Best best(static_cast<size_t>(query_.k));
  for (size_t i = 0; i < candidates_.size(); ++i) {
    if (i + kReadAhead < candidates_.size()) {
      FetchRow(data_.vectors.Row(data_.order[candidates_[i + kReadAhead].position]), d);
    }
    const uint32_t row = data_.order[candidates_[i].position];
    best.Offer({dot(query_.vector, data_.vectors.Row(row), static_cast<size_t>(d)), row});
  }
  return std::move(best).Sorted();
}

}  // namespace imagesearch::index
