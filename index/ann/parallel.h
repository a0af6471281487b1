// A parallel loop for index builds.
#ifndef IMAGESEARCH_INDEX_ANN_PARALLEL_H_
#define IMAGESEARCH_INDEX_ANN_PARALLEL_H_

#include <cstdint>
#include <functional>

namespace imagesearch::index {

// Runs body(begin, end) over [0, n) in pieces of at most `piece`, handed out in order to `threads`
// threads, the caller's among them; returns when all are done. `body` must be safe to run at the
// same time on different pieces; an exception of it ends the loop and is thrown again here.
void ParallelFor(uint32_t n, int threads, uint32_t piece,
                 const std::function<void(uint32_t begin, uint32_t end)>& body);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_PARALLEL_H_
