// Vectors as they come in, checked and brought to length 1.
#ifndef IMAGESEARCH_INDEX_STORE_UNIT_VECTOR_H_
#define IMAGESEARCH_INDEX_STORE_UNIT_VECTOR_H_

#include <vector>

#include "absl/status/status.h"

namespace imagesearch::index {

// Normalises in place (norm in float64). INVALID_ARGUMENT DIM_MISMATCH, NOT_FINITE or ZERO_NORM;
// then the vector is as it was.
absl::Status MakeUnitVector(int dimension, std::vector<float>* vector);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_UNIT_VECTOR_H_
