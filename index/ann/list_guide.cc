#include "index/ann/list_guide.h"

#include <algorithm>
#include <cmath>

#include "index/ann/tail_codes.h"

namespace imagesearch::index {
namespace {

// Lists that are ranked to find a row's own: with their groups first, few rows end in the second
// nearest instead.
constexpr uint32_t kConsidered = 64;
constexpr double kMargin = 1.5;

// What ranking needs of an encoded query.
EncodedQuery Encode(const float* x, int dimension) {
  QueryCode code = EncodeQueryCode(x, dimension);
  EncodedQuery query;
  query.code = std::move(code.code);
  query.offset = code.offset;
  return query;
}

}  // namespace

uint32_t ListGuide::ListOf(const float* x) const {
  return lists_.Rank(Encode(x, dimension_), kConsidered).front();
}

std::vector<uint64_t> ListGuide::Near(const float* query, QueryKind kind, double k) const {
  const EncodedQuery encoded = Encode(query, dimension_);
  const KindTuning& tuning = kind == QueryKind::kImage ? tuning_.image : tuning_.text;
  const auto probes = static_cast<uint32_t>(std::min<double>(
      std::ceil(kMargin * Tuning::Probes(tuning, k, lists_.size())), lists_.size()));
  std::vector<uint64_t> near((lists_.size() + 63) / 64);
  const auto add = [&near](uint32_t list) { near[list >> 6] |= uint64_t{1} << (list & 63); };
  const uint32_t considered = Tuning::Considered(tuning, probes, lists_.size());
  for (uint32_t list : lists_.Nearest(encoded, probes, considered)) add(list);
  add(lists_.Rank(encoded, kConsidered).front());
  return near;
}

}  // namespace imagesearch::index
