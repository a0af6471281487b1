#include "index/store/unit_vector.h"

#include <cmath>

#include "absl/strings/str_cat.h"
#include "base/error.h"

namespace imagesearch::index {

absl::Status MakeUnitVector(int dimension, std::vector<float>* vector) {
  if (vector->size() != static_cast<size_t>(dimension)) {
    return InvalidArgument("DIM_MISMATCH",
                           absl::StrCat("the vector has ", vector->size(),
                                        " values; this collection takes ", dimension));
  }
  double squares = 0;
  for (size_t i = 0; i < vector->size(); ++i) {
    if (!std::isfinite((*vector)[i])) {
      return InvalidArgument("NOT_FINITE",
                             absl::StrCat("value ", i, " of the vector is NaN or infinite"));
    }
    squares += double{(*vector)[i]} * (*vector)[i];
  }
  if (squares == 0) {
    return InvalidArgument("ZERO_NORM", "the vector has only zeros, which has no direction");
  }
  const double scale = 1 / std::sqrt(squares);
  for (float& value : *vector) value = static_cast<float>(value * scale);
  return absl::OkStatus();
}

}  // namespace imagesearch::index
