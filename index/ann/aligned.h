// Arrays whose first element is cache-line aligned, large ones on huge pages where the system gives
// them (random reads of codes and links miss the TLB otherwise).
#ifndef IMAGESEARCH_INDEX_ANN_ALIGNED_H_
#define IMAGESEARCH_INDEX_ANN_ALIGNED_H_

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include <cstddef>
#include <new>
#include <vector>

namespace imagesearch::index {

template <class T>
struct AlignedAllocator {
  using value_type = T;
  static constexpr size_t kHuge = size_t{2} << 20;

  AlignedAllocator() = default;
  template <class U>
  AlignedAllocator(const AlignedAllocator<U>&) {}

  static std::align_val_t Alignment(size_t bytes) {
    return std::align_val_t{bytes >= 4 * kHuge ? kHuge : 64};
  }
  T* allocate(size_t n) {
    const size_t bytes = n * sizeof(T);
    void* memory = ::operator new(bytes, Alignment(bytes));
#if defined(__linux__)
    // Advice only: a refusal changes nothing but speed.
    if (bytes >= 4 * kHuge) madvise(memory, bytes, MADV_HUGEPAGE);
#endif
    return static_cast<T*>(memory);
  }
  void deallocate(T* memory, size_t n) { ::operator delete(memory, Alignment(n * sizeof(T))); }

  template <class U>
  bool operator==(const AlignedAllocator<U>&) const {
    return true;
  }
};

template <class T>
using AlignedVector = std::vector<T, AlignedAllocator<T>>;

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_ALIGNED_H_
