// Sizes of indexes from their layouts (coded_index.h, pq_index.h).
#include "index/ann/budget.h"

#include <algorithm>

#include "index/ann/cluster.h"
#include "index/ann/codes.h"
#include "index/ann/pq_codes.h"

namespace imagesearch::index {
namespace {

uint64_t CodeBytes(uint64_t rows, int dimension) {
  return rows * (CodeStride(dimension) + sizeof(float)) +
         static_cast<uint64_t>(dimension) * sizeof(float);
}

// Entries that stand for more values than this tell rows apart so badly that nearly all are
// rescored; the lists take more memory by then.
constexpr int kMaxPartWidth = 64;

// Of centroids and groups.
uint64_t ListBytes(uint32_t rows, int dimension, uint32_t lists) {
  const uint32_t count = std::min(rows, lists > 0 ? lists : ListsFor(rows));
  const uint32_t groups = std::min(count, GroupsFor(count));
  return CodeBytes(count, dimension) + CodeBytes(groups, dimension) +
         uint64_t{count + groups + 2} * sizeof(uint32_t);
}

}  // namespace

std::vector<int> PqSizes(int dimension) {
  std::vector<int> sizes;
  for (int size = 1; size <= std::min(dimension, kMaxPqBytes); ++size) {
    if (dimension % size == 0) sizes.push_back(size);
  }
  return sizes;
}

uint64_t FlatBytes(uint32_t rows, int dimension) { return CodeBytes(rows, dimension); }

uint64_t ListedBytes(uint32_t rows, int dimension, uint32_t lists) {
  // The layout goes both ways, and a guide for rows that come later has lists of its own.
  return CodeBytes(rows, dimension) + rows * 2 * sizeof(uint32_t) +
         2 * ListBytes(rows, dimension, lists);
}

uint64_t GraphBytes(uint32_t rows, int links) {
  // One node in `links` is on the level above, with its number, and so on.
  const uint64_t m = static_cast<uint64_t>(links);
  return rows * 2 * m * sizeof(uint32_t) + rows * (m + 1) * sizeof(uint32_t) / (m - 1);
}

uint64_t PqBytes(uint32_t rows, int dimension, uint32_t lists, int pq_bytes) {
  const uint64_t blocks = (uint64_t{rows} + kPqBlock - 1) / kPqBlock;
  const uint32_t count = std::min(rows, lists > 0 ? lists : ListsFor(rows));
  return blocks * kPqBlock * (static_cast<uint64_t>(pq_bytes) + kPqDirections) +
         rows * sizeof(uint32_t) + ListBytes(rows, dimension, lists) + count * sizeof(float) +
         static_cast<uint64_t>(dimension) * (kPqEntries + kPqDirections) * sizeof(float);
}

BudgetChoice ChooseForBudget(uint64_t budget, uint32_t rows, int dimension, bool scanned,
                             uint32_t lists, int links) {
  BudgetChoice choice;
  const uint64_t listed = ListedBytes(rows, dimension, lists);
  const uint64_t coded = scanned ? FlatBytes(rows, dimension) : listed;
  choice.graph = listed + GraphBytes(rows, links) <= budget;
  if (coded <= budget) return choice;
  for (int size : PqSizes(dimension)) {
    if (dimension / size > kMaxPartWidth) continue;
    const uint64_t bytes = PqBytes(rows, dimension, lists, size);
    // Ascending: the last that fits is the longest, and where none does the first is the smallest.
    if (bytes <= budget || (choice.pq_bytes == 0 && bytes < coded)) choice.pq_bytes = size;
  }
  choice.fits = choice.pq_bytes > 0 && PqBytes(rows, dimension, lists, choice.pq_bytes) <= budget;
  return choice;
}

}  // namespace imagesearch::index
