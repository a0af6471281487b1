// Scans of all rows or of the allowed ones.
#ifndef IMAGESEARCH_INDEX_ANN_SCAN_H_
#define IMAGESEARCH_INDEX_ANN_SCAN_H_

#include <vector>

#include "absl/types/span.h"
#include "index/ann/collector.h"

namespace imagesearch::index {

// The k nearest allowed rows of each query; with kProved exactly those that a float32 scan finds.
// The queries share one pass over the codes, but for those whose mask allows few rows: these read
// only the allowed ones.
std::vector<std::vector<Neighbor>> Scan(const SearchData& data, absl::Span<const AnnQuery> queries,
                                        ErrorBound bound);

// Whether reading only the allowed rows is cheaper than reading all `rows` codes in order.
bool FewAllowed(const RowMask& mask, uint32_t rows);

// Reads only the rows that the mask allows (its words are set).
std::vector<Neighbor> ScanAllowed(const SearchData& data, const AnnQuery& query, ErrorBound bound);

}  // namespace imagesearch::index

#endif  // IMAGESEARCH_INDEX_ANN_SCAN_H_
