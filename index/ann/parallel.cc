// The parallel loop of index builds.
#include "index/ann/parallel.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#include <thread>
#include <vector>

namespace imagesearch::index {

void ParallelFor(uint32_t n, int threads, uint32_t piece,
                 const std::function<void(uint32_t, uint32_t)>& body) {
  std::atomic<uint64_t> next{0};
  std::mutex mutex;
  std::exception_ptr failure;  // guarded by mutex
  const auto work = [&] {
    try {
      while (true) {
        const uint64_t begin = next.fetch_add(piece, std::memory_order_relaxed);
        if (begin >= n) return;
        body(static_cast<uint32_t>(begin),
             static_cast<uint32_t>(std::min<uint64_t>(n, begin + piece)));
      }
    } catch (...) {
      next = n;
      std::lock_guard lock(mutex);
      if (!failure) failure = std::current_exception();
    }
  };
  const uint64_t pieces = (uint64_t{n} + piece - 1) / piece;
  const uint64_t wanted = std::min<uint64_t>(static_cast<uint64_t>(std::max(threads, 1)), pieces);
  std::vector<std::thread> helpers;
  for (uint64_t i = 1; i < wanted; ++i) helpers.emplace_back(work);
  work();
  for (std::thread& helper : helpers) helper.join();
  if (failure) std::rethrow_exception(failure);
}

}  // namespace imagesearch::index
