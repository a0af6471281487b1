// The inner product that every answer's score comes from.
#ifndef IMAGESEARCH_INDEX_STORE_DOT_H_
#define IMAGESEARCH_INDEX_STORE_DOT_H_

namespace imagesearch::index {

// Of two float32 vectors, summed in 32 lanes and those pairwise: always in this order and without
// fused steps, so that equal vectors have equal scores wherever they are stored and on whichever
// x86-64 CPU. Index kinds may rank by other kernels; hits are scored by this one.
float Dot(const float* a, const float* b, int dimension);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_STORE_DOT_H_
