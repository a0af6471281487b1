// What indexes take in memory, and which of them fits a budget.
#ifndef IMAGESEARCH_INDEX_ANN_BUDGET_H_
#define IMAGESEARCH_INDEX_ANN_BUDGET_H_

#include <cstdint>
#include <vector>

namespace imagesearch::index {

// The pq_bytes that a dimension allows: its divisors up to kMaxPqBytes, ascending.
std::vector<int> PqSizes(int dimension);

// Bytes of memory that AnnIndex::memory_bytes will say, about.
uint64_t FlatBytes(uint32_t rows, int dimension);
uint64_t ListedBytes(uint32_t rows, int dimension, uint32_t lists);
uint64_t GraphBytes(uint32_t rows, int links);  // beside the lists
uint64_t PqBytes(uint32_t rows, int dimension, uint32_t lists, int pq_bytes);

struct BudgetChoice {
  bool graph = true;  // one of `links` links a node fits beside the lists
  int pq_bytes = 0;   // product-quantised codes; 0: codes of 8 bits
  bool fits = true;   // false: nothing does, and this is the smallest
};

// For kind AUTO over `rows` rows, scanned or in `lists` lists. Codes of 8 bits where they fit,
// otherwise the longest product-quantised ones that do.
BudgetChoice ChooseForBudget(uint64_t budget, uint32_t rows, int dimension, bool scanned,
                             uint32_t lists, int links);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_BUDGET_H_
