// The inner product of this room: fast on any CPU; hits keep the scores that the collection gave.
#ifndef IMAGESEARCH_INDEX_RANK_INNER_PRODUCT_H_
#define IMAGESEARCH_INDEX_RANK_INNER_PRODUCT_H_

#include <cstddef>

namespace imagesearch::index {

float InnerProduct(const float* a, const float* b, size_t dimension);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_RANK_INNER_PRODUCT_H_
