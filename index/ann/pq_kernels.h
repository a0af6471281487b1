// Arithmetic of product-quantised codes, in one variant for each instruction set and chosen at run
// time as the kernels of simd.h are.
#ifndef IMAGESEARCH_INDEX_ANN_PQ_KERNELS_H_
#define IMAGESEARCH_INDEX_ANN_PQ_KERNELS_H_

#include <cstddef>
#include <cstdint>
#include <vector>

namespace imagesearch::index {

inline constexpr size_t kPqEntries = 256;  // of a codebook: a code is one byte
inline constexpr size_t kPqBlock = 64;     // rows whose codes lie together

struct PqKernels {
  const char* name;

  // out[c] = sum over j < width of x[j] * book[j * 256 + c], for each of the 256 entries.
  void (*table)(const float* x, const float* book, size_t width, float* out);

  // The entry c with the greatest table[c] - half_norms[c]: the nearest one to x when half_norms
  // are half the squared lengths of the entries. The first of equals; rounding may differ between
  // variants.
  uint32_t (*nearest)(const float* x, const float* book, const float* half_norms, size_t width);

  // For the 64 rows of a block: sums[i] = sum over m < columns of
  // table[m * 256 + codes[m * 64 + i]], which the caller keeps below 65,536. Bit i of the result:
  // sums[i] >= threshold. The same integers in every variant.
  uint64_t (*scan)(const uint8_t* codes, const uint8_t* table, size_t columns, uint16_t threshold,
                   uint16_t* sums);
};

// What fits the level of simd.h that is in force. Thread-safe.
const PqKernels& Pq();

// Those that this CPU can run, the portable one first; for tests.
std::vector<const PqKernels*> AvailablePqKernels();

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_PQ_KERNELS_H_
