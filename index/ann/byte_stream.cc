// What loaders of stored indexes share.
#include "index/ann/byte_stream.h"

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace imagesearch::index {

absl::Status DamagedIndex(absl::string_view what) {
  return Error(absl::StatusCode::kDataLoss, "BAD_SNAPSHOT",
               absl::StrCat("the stored index is damaged or doesn't fit its vectors: ", what));
}

bool IsPermutation(const std::vector<uint32_t>& order) {
  std::vector<bool> seen(order.size(), false);
  for (uint32_t row : order) {
    if (row >= order.size() || seen[row]) return false;
    seen[row] = true;
  }
  return true;
}

}  // namespace imagesearch::index
